"""Settings of the teachers, and what no training can use. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from curricula.definition import CurriculumConfig
from curricula.registry import TEACHERS, get
from tasks.core import settings
from tasks.core.settings import any_value, as_dict, one_of, ruled
from tasks.spec import TaskSpec

MIXES = ("uniform", "progress")

LEVEL = "r3"
"""The level within whose ranges a teacher moves factors: the widest."""


def _above_0(share: float) -> str:
    return "" if 0.0 < share <= 1.0 else "above 0 and up to 1, so that every task is trained"


@dataclass
class MixConfig:
    """One policy for several tasks, see `curricula.mix`."""

    tasks: str = any_value()  # as in `--task`: a+b
    mix: str = one_of(MIXES, "uniform")  # what decides how many of the envs each task gets
    floor: float = ruled(_above_0, 0.5)  # with `progress`: share of the envs that is dealt out evenly


def schemas() -> list[type[CurriculumConfig]]:
    """The types of all teachers' settings."""
    return [get(name).schema for name in TEACHERS.names()]


def load(name: str) -> DictConfig:
    """Default settings of the teacher `name`; setting an unknown key raises. Raises `ValueError` for another name."""
    return OmegaConf.structured(get(name).schema(name=name))


def moved(cfg: DictConfig, spec: TaskSpec) -> tuple[str, ...]:
    """The parameters that the teacher moves: `difficulty`, and names of factors in declared order."""
    target = cfg.get("target", "difficulty")
    asked = set(cfg.get("factors") or [f.name for f in spec.factors if not f.held_out])
    factors = [f.name for f in spec.factors if f.name in asked] if target != "difficulty" else []
    return (*(("difficulty",) if target != "factors" else ()), *factors)


def check(cfg: DictConfig, spec: TaskSpec, level: str) -> None:
    """Raise `ValueError`, naming the key, for settings that no training of the task at `level` can use."""
    get(cfg.name).check(as_dict(cfg, resolve=False))
    if "target" not in cfg or (cfg.target == "difficulty" and not cfg.factors):
        return
    if cfg.target == "difficulty":
        raise ValueError(f"factors={list(cfg.factors)}: with target=difficulty no factor is moved; use factors or both")
    trainable = [f.name for f in spec.factors if not f.held_out]
    if not trainable:
        raise ValueError(f"target={cfg.target}: task {spec.name} declares no factor that training may move")
    for name in cfg.factors:
        if name not in trainable:
            held_out = "is held out of training" if name in {f.name for f in spec.factors} else "is not declared"
            raise ValueError(f"factors: {name!r} {held_out} by task {spec.name}; valid: {', '.join(trainable)}")
    if level != LEVEL:
        raise ValueError(
            f"target={cfg.target}: a teacher moves factors within the ranges of {LEVEL}, and the run is of level"
            f" {level}; use --randomization {LEVEL}"
        )


def check_mix(cfg: DictConfig) -> None:
    """Raise `ValueError`, naming the key, for settings of a mix that no training can use."""
    settings.check(MixConfig, cfg)
