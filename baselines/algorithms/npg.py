"""Natural policy gradient (Kakade 2001)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import MISSING, DictConfig

from baselines.algorithms.definition import CONFIGS, AlgorithmDef, OnPolicyConfig
from tasks.core.settings import count, positive

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class NPGConfig(OnPolicyConfig):
    """`tianshou.algorithm.NPG`; `learning_rate` is the critic's."""

    critic_iters: int = count(10_000)
    trust_region_size: float = positive()  # step length along the natural gradient
    advantage_normalization: bool = MISSING


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    from baselines.tianshou import parts
    from baselines.tianshou.on_policy import TensorNPG

    return TensorNPG(
        **parts.gaussian(env, cfg),
        **parts.pick(cfg, "trust_region_size", "advantage_normalization", optim_critic_iters="critic_iters"),
    )


NPG = AlgorithmDef(
    name="npg",
    schema=NPGConfig,
    values=CONFIGS / "npg.yaml",
    build=build,
    on_policy=True,
    discrete=False,
    squash="bounded_mean",
    exploration="policy",
    counters=(),
)
