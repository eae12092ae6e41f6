"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, DictConfig

from baselines.algorithms.a2c import A2CConfig
from baselines.algorithms.definition import CONFIGS, AlgorithmDef
from tasks.core.settings import positive

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class PPOConfig(A2CConfig):
    """`tianshou.algorithm.PPO`, and a learning rate that follows the KL divergence."""

    eps_clip: float = positive()
    value_clip: bool = MISSING
    advantage_normalization: bool = MISSING
    desired_kl: float | None = positive()  # null: constant learning rate
    learning_rate_min: float = positive()
    learning_rate_max: float = positive()

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """See `AgentConfig.check`."""
        super().check(values)
        if values["learning_rate_min"] > values["learning_rate_max"]:
            raise ValueError(f"learning_rate_min={values['learning_rate_min']}: expected at most learning_rate_max")


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    from baselines.tianshou import parts
    from baselines.tianshou.on_policy import TensorPPO

    return TensorPPO(
        **parts.gaussian(env, cfg),
        **parts.pick(cfg, "vf_coef", "ent_coef", "max_grad_norm", "eps_clip", "value_clip", "advantage_normalization"),
        **parts.pick(cfg, "desired_kl", "learning_rate_min", "learning_rate_max"),
    )


PPO = AlgorithmDef(
    name="ppo",
    schema=PPOConfig,
    values=CONFIGS / "ppo.yaml",
    build=build,
    on_policy=True,
    discrete=False,
    squash="bounded_mean",
    exploration="policy",
    counters=(),
)
