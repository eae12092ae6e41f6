"""Deep Q-learning (Mnih et al. 2015), also with the double target of van Hasselt et al. 2015 (arXiv:1509.06461)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, DictConfig

from baselines.algorithms.definition import CONFIGS, AlgorithmDef, OffPolicyConfig
from tasks.core.settings import count, ruled, share

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class DQNConfig(OffPolicyConfig):
    """`tianshou.algorithm.DQN` on the task's discrete actions.

    Epsilon goes geometrically from `epsilon_max` in env 0 to `epsilon_min` in the last.
    """

    target_update_freq: int = count(2**30)  # gradient updates between two copies to the target network
    double: bool = MISSING
    epsilon_min: float = ruled(lambda x: "" if 0 < x <= 1 else "positive" if x <= 0 else "between 0 and 1")
    epsilon_max: float = share()

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """See `AgentConfig.check`."""
        super().check(values)
        if values["epsilon_min"] > values["epsilon_max"]:
            most = f"at most epsilon_max={values['epsilon_max']}"
            raise ValueError(f"epsilon_min={values['epsilon_min']}: expected {most}")


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    import gymnasium as gym

    from baselines.tianshou import networks, parts
    from baselines.tianshou.off_policy import TensorDQN
    from baselines.tianshou.policies import TensorQPolicy

    choices = len(env.spec.discrete_actions)
    model = networks.policy_trunk(cfg, env.spec.policy_dim, action_shape=(choices,))
    return TensorDQN(
        policy=TensorQPolicy(model=model, action_space=gym.spaces.Discrete(choices)),
        optim=parts.adam(cfg.learning_rate),
        **parts.pick(cfg, "gamma", "target_update_freq", n_step_return_horizon="n_step", is_double="double"),
    )


DQN = AlgorithmDef(
    name="dqn",
    schema=DQNConfig,
    values=CONFIGS / "dqn.yaml",
    build=build,
    on_policy=False,
    discrete=True,
    squash=False,
    exploration="epsilon_greedy",
    counters=("_iter",),
)
