"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1801.01290 and arXiv:1812.05905)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from baselines.algorithms.definition import CONFIGS, ActorCriticConfig, AlgorithmDef
from tasks.core.settings import any_value, positive

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class SACConfig(ActorCriticConfig):
    """`tianshou.algorithm.SAC` with the temperature tuned to an entropy of `target_entropy` nats per action value."""

    init_alpha: float = positive()
    alpha_learning_rate: float = positive()
    target_entropy: float = any_value()


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    from baselines.tianshou import networks, parts
    from baselines.tianshou.off_policy import TensorSAC
    from baselines.tianshou.policies import TensorSACPolicy

    dims = env.spec.obs_dim, env.spec.action_dim
    actor = networks.squashed_actor(cfg, env.spec.policy_dim, env.spec.action_dim)
    return TensorSAC(
        policy=TensorSACPolicy(actor, env.action_space),
        critic=networks.action_critic(cfg, *dims),
        critic2=networks.action_critic(cfg, *dims),
        alpha=parts.temperature(env, cfg),
        **parts.q_learning(cfg),
    )


SAC = AlgorithmDef(
    name="sac",
    schema=SACConfig,
    values=CONFIGS / "sac.yaml",
    build=build,
    on_policy=False,
    discrete=False,
    squash=True,
    exploration="policy",
    counters=(),
)
