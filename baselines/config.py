"""Typed configs of the learners. The values live in `configs/<algo>.yaml`, the types and the checks here.

A file has three parts: `defaults`, `budgets.<budget>` and `tasks.<task>` (which may hold `budgets.<budget>` again);
the later and the deeper one wins.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from baselines.policy_header import MAX_LAYERS, MAX_WIDTH

ACTIVATIONS = ("elu", "relu", "silu", "tanh")
MOST_ENVS = 2**20
MOST_TRANSITIONS = 2**28  # of a rollout
_COUNTS = {
    **dict.fromkeys(("num_envs", "horizon", "batch_size", "updates_per_step"), MOST_ENVS),
    **dict.fromkeys(("env_steps", "learning_starts"), 10**12),
    **dict.fromkeys(("buffer_size", "target_update_freq", "minibatches"), 2**30),
    **dict.fromkeys(("epochs", "critic_iters", "max_backtracks", "n_step", "update_actor_freq", "actor_delay"), 10_000),
    **dict.fromkeys(("ensemble_size", "subset_size"), 100),
}
"""Largest value of each integer setting, far above what any training uses. The smallest is 1, if not in `_LEAST`."""
_LEAST = {"learning_starts": 0}
_FOLDER = Path(__file__).with_name("configs")


@dataclass
class AgentConfig:
    """What every learner has."""

    num_envs: int = MISSING  # N, rows of the env batch
    env_steps: int | None = None  # env steps of the training; null: what the task declares for the budget
    horizon: int = MISSING  # T, vector steps per iteration
    gamma: float = MISSING  # discount per control step
    hidden_sizes: list[int] = MISSING  # of every network
    activation: str = MISSING  # one of ACTIVATIONS
    layer_norm: bool = MISSING  # normalise the inputs of every activation
    obs_norm: bool = MISSING  # standardise observations with running statistics
    reward_scale: float = MISSING  # rewards are multiplied by it before they are stored


@dataclass
class OnPolicyConfig(AgentConfig):
    """Learners that throw a rollout of T * N transitions away after its update."""

    epochs: int = MISSING  # passes over the rollout
    minibatches: int = MISSING  # parts of the rollout per pass
    learning_rate: float = MISSING
    gae_lambda: float = MISSING
    init_std: float = MISSING  # of the Gaussian policy, at the start
    bounded_mean: bool = MISSING  # its mean goes through tanh, and so stays within [-1, 1]
    return_scaling: bool = MISSING  # critic learns returns divided by their running standard deviation
    staggered: bool = MISSING  # envs are never all in the same part of an episode, see `TensorEnv.reset`


@dataclass
class A2CConfig(OnPolicyConfig):
    """`tianshou.algorithm.A2C`."""

    vf_coef: float = MISSING
    ent_coef: float = MISSING
    max_grad_norm: float | None = MISSING


@dataclass
class PPOConfig(A2CConfig):
    """`tianshou.algorithm.PPO`, and a learning rate that follows the KL divergence."""

    eps_clip: float = MISSING
    value_clip: bool = MISSING
    advantage_normalization: bool = MISSING
    desired_kl: float | None = MISSING  # null: constant learning rate
    learning_rate_min: float = MISSING
    learning_rate_max: float = MISSING


@dataclass
class NPGConfig(OnPolicyConfig):
    """`tianshou.algorithm.NPG`; `learning_rate` is the critic's."""

    critic_iters: int = MISSING
    trust_region_size: float = MISSING  # step length along the natural gradient
    advantage_normalization: bool = MISSING


@dataclass
class TRPOConfig(NPGConfig):
    """`tianshou.algorithm.TRPO`."""

    max_kl: float = MISSING
    backtrack_coeff: float = MISSING
    max_backtracks: int = MISSING


@dataclass
class OffPolicyConfig(AgentConfig):
    """Learners with a replay buffer."""

    buffer_size: int = MISSING  # transitions
    learning_starts: int = MISSING  # env steps of uniformly random actions before the first update
    batch_size: int = MISSING  # transitions per gradient update
    updates_per_step: int = MISSING  # gradient updates after each vector step: update-to-data ratio times N
    n_step: int = MISSING  # rewards per target
    learning_rate: float = MISSING


@dataclass
class ActorCriticConfig(OffPolicyConfig):
    """Off-policy learners with an actor."""

    tau: float = MISSING  # share of the new weights in a target network's update
    actor_learning_rate: float = MISSING


@dataclass
class DDPGConfig(ActorCriticConfig):
    """`tianshou.algorithm.DDPG`.

    Exploration noise goes linearly from `noise_min` in env 0 to `noise_max` in the last.
    """

    noise_min: float = MISSING
    noise_max: float = MISSING


@dataclass
class TD3Config(DDPGConfig):
    """`tianshou.algorithm.TD3`."""

    policy_noise: float = MISSING
    noise_clip: float = MISSING
    update_actor_freq: int = MISSING


@dataclass
class SACConfig(ActorCriticConfig):
    """`tianshou.algorithm.SAC` with the temperature tuned to an entropy of `target_entropy` nats per action value."""

    init_alpha: float = MISSING
    alpha_learning_rate: float = MISSING
    target_entropy: float = MISSING


@dataclass
class REDQConfig(SACConfig):
    """`tianshou.algorithm.REDQ`."""

    ensemble_size: int = MISSING
    subset_size: int = MISSING
    actor_delay: int = MISSING


@dataclass
class DQNConfig(OffPolicyConfig):
    """`tianshou.algorithm.DQN` on the task's discrete actions.

    Epsilon goes geometrically from `epsilon_max` in env 0 to `epsilon_min` in the last.
    """

    target_update_freq: int = MISSING  # gradient updates between two copies to the target network
    double: bool = MISSING
    epsilon_min: float = MISSING
    epsilon_max: float = MISSING


_SCHEMAS: dict[str, type[AgentConfig]] = {
    "ppo": PPOConfig,
    "a2c": A2CConfig,
    "trpo": TRPOConfig,
    "npg": NPGConfig,
    "sac": SACConfig,
    "td3": TD3Config,
    "ddpg": DDPGConfig,
    "redq": REDQConfig,
    "dqn": DQNConfig,
}


def schemas() -> list[type[AgentConfig]]:
    """The types of all learners' configs."""
    return list(_SCHEMAS.values())


def schema(algo: str) -> DictConfig:
    """The typed config of `algo` without values. Raises `ValueError` for a name that has none."""
    if algo not in _SCHEMAS:
        raise ValueError(f"unknown learner {algo!r}; valid: {', '.join(_SCHEMAS)}")
    return OmegaConf.structured(_SCHEMAS[algo])


def load(algo: str, task: str, budget: str) -> DictConfig:
    """The config of `algo` on `task` at `budget` (smoke, quick or full); setting an unknown key raises.

    Raises `ValueError` where the file has a key that the config has not, a value of another type, or lacks a value.
    """
    cfg = schema(algo)
    file = _FOLDER / f"{algo}.yaml"
    parts = _read(file)
    of_task = parts.get("tasks", {}).get(task, {})
    layers = {
        "defaults": parts["defaults"],
        f"budgets.{budget}": parts.get("budgets", {}).get(budget, {}),
        f"tasks.{task}": {key: value for key, value in of_task.items() if key != "budgets"},
        f"tasks.{task}.budgets.{budget}": of_task.get("budgets", {}).get(budget, {}),
    }
    try:
        cfg = OmegaConf.merge(cfg, {key: value for layer in layers.values() for key, value in layer.items()})
    except OmegaConfBaseException:
        for name, layer in layers.items():  # which one was it
            try:
                OmegaConf.merge(cfg, layer)
            except OmegaConfBaseException as error:
                raise ValueError(f"{file.name}, {name}: {str(error).splitlines()[0]}") from error
        raise
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise ValueError(f"{file.name}: no value for {', '.join(missing)}")
    check(cfg)
    return cfg


@cache
def _read(file: Path) -> dict[str, Any]:
    """The content of a config file; nobody may change it."""
    return OmegaConf.to_container(OmegaConf.load(file))


def check(config: DictConfig) -> None:
    """Raise `ValueError`, naming the key, for a value that no training can use."""
    cfg = OmegaConf.to_container(config, resolve=True)  # a hundred look-ups in it are a hundred times as fast
    for key, most in _COUNTS.items():
        if cfg.get(key) is not None and not _LEAST.get(key, 1) <= cfg[key] <= most:
            limit = f"at most {most}" if cfg[key] > most else f"at least {_LEAST.get(key, 1)}"
            raise ValueError(f"{key}={str(cfg[key])[:60]}: expected {limit}")
    positive = (
        *("learning_rate", "actor_learning_rate", "alpha_learning_rate", "init_std", "init_alpha", "reward_scale"),
        *("max_grad_norm", "desired_kl", "max_kl", "trust_region_size", "learning_rate_min", "eps_clip", "epsilon_min"),
        "learning_rate_max",
    )
    unit = ("gamma", "gae_lambda", "tau", "backtrack_coeff", "epsilon_min", "epsilon_max")
    not_negative = ("noise_min", "noise_max", "policy_noise", "noise_clip")
    for keys, holds, wanted in (
        (positive, lambda x: x > 0, "positive"),
        (unit, lambda x: 0 <= x <= 1, "between 0 and 1"),
        (not_negative, lambda x: x >= 0, "at least 0"),
    ):
        for key in keys:
            value = cfg.get(key)
            if value is not None and not holds(value):
                raise ValueError(f"{key}={value}: expected {wanted}")
    for key, value in cfg.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key}={value}: expected a finite number")
    if cfg["activation"] not in ACTIVATIONS:
        raise ValueError(f"activation={cfg['activation'][:60]}: expected one of {', '.join(ACTIVATIONS)}")
    if not cfg["hidden_sizes"] or min(cfg["hidden_sizes"]) < 1:
        raise ValueError(f"hidden_sizes={list(cfg['hidden_sizes'])}: expected at least one size, each at least 1")
    # What a policy file cannot hold is refused before the training, not after it.
    if max(cfg["hidden_sizes"]) > MAX_WIDTH or 3 * len(cfg["hidden_sizes"]) + 1 > MAX_LAYERS:
        raise ValueError(
            f"hidden_sizes={str(list(cfg['hidden_sizes']))[:80]}: expected at most {(MAX_LAYERS - 1) // 3} sizes,"
            f" each at most {MAX_WIDTH}"
        )
    rollout = cfg["num_envs"] * cfg["horizon"]
    if rollout > MOST_TRANSITIONS:
        raise ValueError(f"horizon={cfg['horizon']}: expected at most {MOST_TRANSITIONS} for num_envs * horizon")
    if cfg.get("minibatches", 1) > rollout:
        raise ValueError(f"minibatches={cfg['minibatches']}: expected at most num_envs * horizon")
    if "buffer_size" in cfg and cfg["buffer_size"] < rollout:
        raise ValueError(f"buffer_size={cfg['buffer_size']}: expected at least num_envs * horizon")
    if cfg.get("subset_size", 1) > cfg.get("ensemble_size", 1):
        raise ValueError(f"subset_size={cfg['subset_size']}: expected at most ensemble_size={cfg['ensemble_size']}")
    for name in ("noise", "epsilon"):
        low, high = f"{name}_min", f"{name}_max"
        if low in cfg and cfg[low] > cfg[high]:
            raise ValueError(f"{low}={cfg[low]}: expected at most {high}={cfg[high]}")
    if cfg.get("learning_rate_min", 0.0) > cfg.get("learning_rate_max", math.inf):
        raise ValueError(f"learning_rate_min={cfg['learning_rate_min']}: expected at most learning_rate_max")


def on_policy(cfg: DictConfig) -> bool:
    """Whether the algorithm uses each rollout once, and computes advantages; the others have a replay buffer."""
    return "buffer_size" not in cfg


def digest(cfg: DictConfig) -> str:
    """SHA-256 of the resolved config, whatever the order of its keys."""
    return hashlib.sha256(OmegaConf.to_yaml(cfg, resolve=True, sort_keys=True).encode()).hexdigest()
