"""What the suite knows of an algorithm: one object each. Imports no torch.

An algorithm is a file with its settings, how to build it, and an `AlgorithmDef`; and a YAML file with the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, DictConfig

from baselines.policy_header import MAX_LAYERS, MAX_WIDTH
from tasks.core import settings
from tasks.core.settings import count, one_of, positive, share

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv

ACTIVATIONS = ("elu", "relu", "silu", "tanh")
EXPLORATION = ("gaussian", "epsilon_greedy", "policy")
MOST_ENVS = 2**20
MOST_TRANSITIONS = 2**28  # of a rollout
CONFIGS = Path(__file__).parents[1] / "configs"
"""Where the values of the suite's own algorithms are. The limits below are far above what any training uses."""


@dataclass
class AgentConfig:
    """What every learner has."""

    num_envs: int = count(MOST_ENVS)  # N, rows of the env batch
    env_steps: int | None = count(10**12, default=None)  # of the training; null: what the task declares for the budget
    horizon: int = count(MOST_ENVS)  # T, vector steps per iteration
    gamma: float = share()  # discount per control step
    hidden_sizes: list[int] = MISSING  # of every network
    activation: str = one_of(ACTIVATIONS)
    layer_norm: bool = MISSING  # normalise the inputs of every activation
    obs_norm: bool = MISSING  # standardise observations with running statistics
    reward_scale: float = positive()  # rewards are multiplied by it before they are stored

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Raise `ValueError`, naming the key, for values that each are right and do not go together."""
        sizes = values["hidden_sizes"]
        if not sizes or min(sizes) < 1:
            raise ValueError(f"hidden_sizes={list(sizes)}: expected at least one size, each at least 1")
        # What a policy file cannot hold is refused before the training, not after it.
        if max(sizes) > MAX_WIDTH or 3 * len(sizes) + 1 > MAX_LAYERS:
            raise ValueError(
                f"hidden_sizes={str(list(sizes))[:80]}: expected at most {(MAX_LAYERS - 1) // 3} sizes,"
                f" each at most {MAX_WIDTH}"
            )
        if values["num_envs"] * values["horizon"] > MOST_TRANSITIONS:
            most = f"at most {MOST_TRANSITIONS} for num_envs * horizon"
            raise ValueError(f"horizon={values['horizon']}: expected {most}")


@dataclass
class OnPolicyConfig(AgentConfig):
    """Learners that throw a rollout of T * N transitions away after its update."""

    epochs: int = count(10_000)  # passes over the rollout
    minibatches: int = count(2**30)  # parts of the rollout per pass
    learning_rate: float = positive()
    gae_lambda: float = share()
    init_std: float = positive()  # of the Gaussian policy, at the start
    bounded_mean: bool = MISSING  # its mean goes through tanh, and so stays within [-1, 1]
    return_scaling: bool = MISSING  # critic learns returns divided by their running standard deviation
    staggered: bool = MISSING  # envs are never all in the same part of an episode, see `TensorEnv.reset`

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """See `AgentConfig.check`."""
        super().check(values)
        if values["minibatches"] > values["num_envs"] * values["horizon"]:
            raise ValueError(f"minibatches={values['minibatches']}: expected at most num_envs * horizon")


@dataclass
class OffPolicyConfig(AgentConfig):
    """Learners with a replay buffer."""

    buffer_size: int = count(2**30)  # transitions
    learning_starts: int = count(10**12, least=0)  # env steps of uniformly random actions before the first update
    batch_size: int = count(MOST_ENVS)  # transitions per gradient update
    updates_per_step: int = count(MOST_ENVS)  # gradient updates after each vector step: update-to-data ratio times N
    n_step: int = count(10_000)  # rewards per target
    learning_rate: float = positive()

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """See `AgentConfig.check`."""
        super().check(values)
        if values["buffer_size"] < values["num_envs"] * values["horizon"]:
            raise ValueError(f"buffer_size={values['buffer_size']}: expected at least num_envs * horizon")


@dataclass
class ActorCriticConfig(OffPolicyConfig):
    """Off-policy learners with an actor."""

    tau: float = share()  # share of the new weights in a target network's update
    actor_learning_rate: float = positive()


@dataclass(frozen=True)
class AlgorithmDef:
    """One algorithm. Raises `ValueError` for a definition that leaves something open.

    `build` makes the Tianshou `Algorithm` from an env and a config of `schema`. It imports torch inside, so that
    names and settings can be read without torch. Its policy has two methods beside Tianshou's: `act(obs)`, what a
    rollout does in obs [n, obs_dim], and `layers()`, the feed-forward layers that act (or give Q) without exploration.

    Attributes:
        name: what `--algo` takes.
        schema: the dataclass of its settings.
        values: the YAML file with their values, see `baselines.config`.
        build: see above.
        on_policy: whether it uses each rollout once and computes advantages; the others have a replay buffer.
        discrete: whether it chooses from the task's discrete actions.
        squash: whether tanh follows the layers that act: True, False, or the name of the setting that says so.
        exploration: what is added to `act` while an off-policy learner collects, one of EXPLORATION: noise from
            `noise_min` to `noise_max`, random choices from `epsilon_min` to `epsilon_max`, or nothing.
        counters: attributes of the `Algorithm`, numbers, that an update changes and `state_dict` leaves out.
    """

    name: str
    schema: type[AgentConfig]
    values: Path
    build: Callable[[TensorEnv, DictConfig], Algorithm]
    on_policy: bool
    discrete: bool
    squash: bool | str
    exploration: str
    counters: tuple[str, ...]

    def __post_init__(self) -> None:
        base = OnPolicyConfig if self.on_policy else OffPolicyConfig
        if not issubclass(self.schema, base):
            raise ValueError(f"algorithm {self.name}: its schema has to be a subclass of {base.__name__}")
        if without := settings.without_rule(self.schema):
            raise ValueError(
                f"algorithm {self.name}: {self.schema.__name__}.{without[0]} does not say which values it takes;"
                " declare it with a function of tasks.core.settings"
            )
        if self.exploration not in EXPLORATION:
            expected = f"one of {', '.join(EXPLORATION)}"
            raise ValueError(f"algorithm {self.name}: exploration is {self.exploration!r}, expected {expected}")
        asked = {"gaussian": ("noise_min", "noise_max"), "epsilon_greedy": ("epsilon_min", "epsilon_max")}
        needed = [*asked.get(self.exploration, ()), *([self.squash] if isinstance(self.squash, str) else [])]
        if missing := sorted(set(needed) - {f.name for f in fields(self.schema)}):
            raise ValueError(f"algorithm {self.name}: {self.schema.__name__} has no field {missing[0]}")
        if self.on_policy and self.exploration != "policy":
            raise ValueError(f"algorithm {self.name}: exploration of an on-policy learner has to be policy")
        if self.discrete != (self.exploration == "epsilon_greedy"):
            raise ValueError(f"algorithm {self.name}: epsilon_greedy is for discrete actions, and only it")

    def squashed(self, cfg: DictConfig) -> bool:
        """Whether tanh follows the layers that act, with these settings."""
        return bool(cfg[self.squash]) if isinstance(self.squash, str) else self.squash

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise `ValueError`, naming the key, for values that no training can use."""
        settings.check(self.schema, values)
        self.schema.check(values)
