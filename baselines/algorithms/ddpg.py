"""Deep deterministic policy gradient (Lillicrap et al. 2015, arXiv:1509.02971)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from baselines.algorithms.definition import CONFIGS, ActorCriticConfig, AlgorithmDef
from tasks.core.settings import not_negative

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv


@dataclass
class DDPGConfig(ActorCriticConfig):
    """`tianshou.algorithm.DDPG`.

    Exploration noise goes linearly from `noise_min` in env 0 to `noise_max` in the last.
    """

    noise_min: float = not_negative()
    noise_max: float = not_negative()

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """See `AgentConfig.check`."""
        super().check(values)
        if values["noise_min"] > values["noise_max"]:
            raise ValueError(f"noise_min={values['noise_min']}: expected at most noise_max={values['noise_max']}")


def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """The algorithm on the env, with these settings."""
    from baselines.tianshou import parts
    from baselines.tianshou.off_policy import TensorDDPG

    return TensorDDPG(**parts.deterministic(env, cfg))


DDPG = AlgorithmDef(
    name="ddpg",
    schema=DDPGConfig,
    values=CONFIGS / "ddpg.yaml",
    build=build,
    on_policy=False,
    discrete=False,
    squash=True,
    exploration="gaussian",
    counters=(),
)
