"""Advantage actor-critic (Mnih et al. 2016, arXiv:1602.01783)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from baselines.algorithms.definition import CONFIGS, AlgorithmDef, OnPolicyConfig
from tasks.core.settings import any_value, positive

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class A2CConfig(OnPolicyConfig):
    """`tianshou.algorithm.A2C`."""

    vf_coef: float = any_value()
    ent_coef: float = any_value()
    max_grad_norm: float | None = positive()


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    from baselines.tianshou import parts
    from baselines.tianshou.on_policy import TensorA2C

    return TensorA2C(**parts.gaussian(env, cfg), **parts.pick(cfg, "vf_coef", "ent_coef", "max_grad_norm"))


A2C = AlgorithmDef(
    name="a2c",
    schema=A2CConfig,
    values=CONFIGS / "a2c.yaml",
    build=build,
    on_policy=True,
    discrete=False,
    squash="bounded_mean",
    exploration="policy",
    counters=(),
)
