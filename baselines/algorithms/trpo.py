"""Trust region policy optimisation (Schulman et al. 2015, arXiv:1502.05477)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from baselines.algorithms.definition import CONFIGS, AlgorithmDef
from baselines.algorithms.npg import NPGConfig
from tasks.core.settings import count, positive, share

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class TRPOConfig(NPGConfig):
    """`tianshou.algorithm.TRPO`."""

    max_kl: float = positive()
    backtrack_coeff: float = share()
    max_backtracks: int = count(10_000)


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    from baselines.tianshou import parts
    from baselines.tianshou.on_policy import TensorTRPO

    return TensorTRPO(
        **parts.gaussian(env, cfg),
        **parts.pick(cfg, "trust_region_size", "advantage_normalization", optim_critic_iters="critic_iters"),
        **parts.pick(cfg, "max_kl", "backtrack_coeff", "max_backtracks"),
    )


TRPO = AlgorithmDef(
    name="trpo",
    schema=TRPOConfig,
    values=CONFIGS / "trpo.yaml",
    build=build,
    on_policy=True,
    discrete=False,
    squash="bounded_mean",
    exploration="policy",
    counters=(),
)
