"""Twin delayed DDPG (Fujimoto et al. 2018, arXiv:1802.09477)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from baselines.algorithms.ddpg import DDPGConfig
from baselines.algorithms.definition import CONFIGS, AlgorithmDef
from tasks.core.settings import count, not_negative

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class TD3Config(DDPGConfig):
    """`tianshou.algorithm.TD3`."""

    policy_noise: float = not_negative()
    noise_clip: float = not_negative()
    update_actor_freq: int = count(10_000)


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    from baselines.tianshou import networks, parts
    from baselines.tianshou.off_policy import TensorTD3

    return TensorTD3(
        **parts.deterministic(env, cfg),
        critic2=networks.action_critic(cfg, env.spec.obs_dim, env.spec.action_dim),
        **parts.pick(cfg, "policy_noise", "noise_clip", "update_actor_freq"),
    )


TD3 = AlgorithmDef(
    name="td3",
    schema=TD3Config,
    values=CONFIGS / "td3.yaml",
    build=build,
    on_policy=False,
    discrete=False,
    squash=True,
    exploration="gaussian",
    counters=("_cnt", "_last"),  # updates so far, and the actor's last loss, which every update reports
)
