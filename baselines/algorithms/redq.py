"""Randomised ensembled double Q-learning (Chen et al. 2021, arXiv:2101.05982)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from baselines.algorithms.definition import CONFIGS, AlgorithmDef
from baselines.algorithms.sac import SACConfig
from tasks.core.settings import count

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class REDQConfig(SACConfig):
    """`tianshou.algorithm.REDQ`."""

    ensemble_size: int = count(100)
    subset_size: int = count(100)
    actor_delay: int = count(10_000)

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """See `AgentConfig.check`."""
        super().check(values)
        if values["subset_size"] > values["ensemble_size"]:
            most = f"at most ensemble_size={values['ensemble_size']}"
            raise ValueError(f"subset_size={values['subset_size']}: expected {most}")


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    from baselines.tianshou import networks, parts
    from baselines.tianshou.off_policy import TensorREDQ
    from baselines.tianshou.policies import TensorREDQPolicy

    actor = networks.squashed_actor(cfg, env.spec.policy_dim, env.spec.action_dim)
    return TensorREDQ(
        policy=TensorREDQPolicy(actor, env.action_space),
        critic=networks.action_critics(cfg, env.spec.obs_dim, env.spec.action_dim, cfg.ensemble_size),
        alpha=parts.temperature(env, cfg),
        **parts.q_learning(cfg),
        **parts.pick(cfg, "ensemble_size", "subset_size", "actor_delay"),
    )


REDQ = AlgorithmDef(
    name="redq",
    schema=REDQConfig,
    values=CONFIGS / "redq.yaml",
    build=build,
    on_policy=False,
    discrete=False,
    squash=True,
    exploration="policy",
    counters=("critic_gradient_step", "_last_actor_loss"),
)
