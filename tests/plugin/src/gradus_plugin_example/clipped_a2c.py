"""A2C that never trusts an advantage beyond a few standard deviations: settings and definition."""

from dataclasses import dataclass
from pathlib import Path

from baselines.algorithms.a2c import A2CConfig
from baselines.algorithms.definition import AlgorithmDef
from tasks.core.settings import positive


@dataclass
class ClippedA2CConfig(A2CConfig):
    """The settings of A2C, and one more."""

    advantage_clip: float = positive()  # standard deviations of a rollout's advantages


def build(env, cfg):
    """The algorithm on the env. Imports torch here, so that names and settings are read without it."""
    from baselines.tianshou import parts
    from gradus_plugin_example.clipped_update import ClippedA2C

    shared = parts.gaussian(env, cfg) | parts.pick(cfg, "vf_coef", "ent_coef", "max_grad_norm")
    return ClippedA2C(advantage_clip=cfg.advantage_clip, **shared)


CLIPPED_A2C = AlgorithmDef(
    name="clipped-a2c",
    schema=ClippedA2CConfig,
    values=Path(__file__).with_name("clipped_a2c.yaml"),
    build=build,
    on_policy=True,
    discrete=False,
    squash="bounded_mean",
    exploration="policy",
    counters=("rollouts",),
)
