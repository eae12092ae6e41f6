"""Typed settings of the teachers, with their defaults, and what no training can use. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from omegaconf import MISSING, DictConfig, OmegaConf

from tasks.spec import GRADES, TaskSpec

TARGETS = ("difficulty", "factors", "both")
SCORES = ("learnability", "advantage")
MIXES = ("uniform", "progress")
_COUNTS = {
    **dict.fromkeys(("window", "levels", "fit_every", "neighbours"), (1, 2**16)),
    "iterations": (1, 10_000),
    "components": (2, 100),
}
"""Least and most of each integer setting; the most are far above what any training uses."""

LEVEL = "r3"
"""The level within whose ranges a teacher moves factors: the widest."""


@dataclass
class CurriculumConfig:
    """`none`, and what every teacher has."""

    name: str = "none"
    grade: str = "g3"  # of every episode where the teacher does not move the difficulty


@dataclass
class TeacherConfig(CurriculumConfig):
    """`uniform`, and what every teacher that teaches has."""

    target: str = "difficulty"  # what it moves, one of TARGETS
    factors: list[str] = field(default_factory=list)  # which factors, if any: all that are trainable where empty


@dataclass
class StagedConfig(TeacherConfig):
    """See `curricula.teachers.staged`."""

    promote: float = 0.8  # success from which an env climbs
    demote: float = 0.4  # success up to which it falls
    window: int = 4  # episodes of an env that are judged together
    step: float = 0.1  # how far it moves, of the whole range


@dataclass
class ReverseConfig(TeacherConfig):
    """See `curricula.teachers.reverse`; the first three are the paper's (section 5)."""

    promote: float = 0.9  # success above which a start has been mastered
    demote: float = 0.1  # success below which it is too hard still
    replay: float = 0.33  # share of episodes from starts that were good earlier
    noise: float = 0.1  # standard deviation of a step away from a good start, of the whole range
    window: int = 2048  # episodes between two choices of good starts
    neighbours: int = 32  # episodes that estimate the success at a start


@dataclass
class AdrConfig(TeacherConfig):
    """See `curricula.teachers.adr`; probability and window are the paper's (appendix B)."""

    promote: float = 0.8  # success at a boundary from which it moves outward
    demote: float = 0.4  # success up to which it moves inward
    boundary_probability: float = 0.5  # share of episodes at a boundary
    window: int = 240  # episodes that decide about a boundary
    step: float = 0.05  # how far it moves, of the whole range


@dataclass
class PlrConfig(TeacherConfig):
    """See `curricula.teachers.plr`; the staleness is the paper's (section 4)."""

    score: str = "learnability"  # what can be learned from a level, one of SCORES
    levels: int = 512  # points that are trained on
    temperature: float = 1.0  # the paper's 0.1 would put thousands of parallel envs on one or two levels
    staleness: float = 0.1  # share of the draws that go by how long ago a level was played
    memory: float = 0.9  # weight of what is known about a level after one more episode


@dataclass
class AlpGmmConfig(TeacherConfig):
    """See `curricula.teachers.alp_gmm`; the random share and the components are the paper's (section 4)."""

    random: float = 0.2  # share of episodes that are uniform
    window: int = 4096  # latest episodes that are compared, the newer half with the older
    fit_every: int = 2048  # episodes between two fits
    components: int = 10  # at most; mixtures of 2 up to it compete
    neighbours: int = 64  # episodes that estimate the success at a point
    iterations: int = 20  # of expectation-maximisation


@dataclass
class SpdlConfig(TeacherConfig):
    """See `curricula.teachers.spdl`."""

    success: float = 0.5  # that the distribution has to keep
    divergence: float = 0.05  # from the distribution before, at most, per fit [nats]
    fit_every: int = 1024  # episodes between two fits
    initial_std: float = 0.1  # around the easiest point, of the whole range
    minimum_std: float = 0.02
    target_mean: float = 0.5  # of every axis; with the next the moments of the uniform distribution
    target_std: float = 0.29


@dataclass
class MixConfig:
    """One policy for several tasks, see `curricula.mix`."""

    tasks: str = MISSING  # as in `--task`: a+b
    mix: str = "uniform"  # what decides how many of the envs each task gets, one of MIXES
    floor: float = 0.5  # with `progress`: share of the envs that is dealt out evenly


_CONFIGS: dict[str, type[CurriculumConfig]] = {
    "none": CurriculumConfig,
    "uniform": TeacherConfig,
    "staged": StagedConfig,
    "reverse": ReverseConfig,
    "adr": AdrConfig,
    "plr": PlrConfig,
    "alp_gmm": AlpGmmConfig,
    "spdl": SpdlConfig,
}


def schemas() -> list[type[CurriculumConfig]]:
    """The types of all teachers' settings."""
    return list(_CONFIGS.values())


def load(name: str) -> DictConfig:
    """Default settings of the teacher `name`; setting an unknown key raises. Raises `ValueError` for another name."""
    if name not in _CONFIGS:
        raise ValueError(
            f"teacher {str(name)[:60]!r} has no settings: give it a dataclass in _CONFIGS of curricula/config.py;"
            f" there: {', '.join(_CONFIGS)}"
        )
    return OmegaConf.structured(_CONFIGS[name](name=name))


def moved(cfg: DictConfig, spec: TaskSpec) -> tuple[str, ...]:
    """The parameters that the teacher moves: `difficulty`, and names of factors in declared order."""
    target = cfg.get("target", "difficulty")
    asked = set(cfg.get("factors") or [f.name for f in spec.factors if not f.held_out])
    factors = [f.name for f in spec.factors if f.name in asked] if target != "difficulty" else []
    return (*(("difficulty",) if target != "factors" else ()), *factors)


def check(cfg: DictConfig, spec: TaskSpec, level: str) -> None:
    """Raise `ValueError`, naming the key, for settings that no training of the task at `level` can use."""
    _check_values(cfg)
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
    if cfg.mix not in MIXES:
        raise ValueError(f"mix={cfg.mix}: expected one of {', '.join(MIXES)}")
    if not 0.0 < cfg.floor <= 1.0:
        raise ValueError(f"floor={cfg.floor}: expected above 0 and up to 1, so that every task is trained")


def _check_values(cfg: DictConfig) -> None:
    if cfg.grade not in GRADES:
        raise ValueError(f"grade={cfg.grade}: expected one of {', '.join(GRADES)}")
    if cfg.get("target", TARGETS[0]) not in TARGETS:
        raise ValueError(f"target={cfg.target}: expected one of {', '.join(TARGETS)}")
    if cfg.get("score", SCORES[0]) not in SCORES:
        raise ValueError(f"score={cfg.score}: expected one of {', '.join(SCORES)}")
    shares = ("promote", "demote", "replay", "boundary_probability", "staleness", "memory", "random", "success")
    positive = ("step", "noise", "temperature", "divergence", "initial_std", "minimum_std", "target_std")
    for key, (least, most) in _COUNTS.items():
        if key in cfg and not least <= cfg[key] <= most:
            limit = f"at least {least}" if cfg[key] < least else f"at most {most}"
            raise ValueError(f"{key}={str(cfg[key])[:60]}: expected {limit}")
    for keys, holds, wanted in (
        (shares, lambda x: 0 <= x <= 1, "between 0 and 1"),
        (("target_mean",), lambda x: 0 <= x <= 1, "between 0 and 1"),
        (positive, lambda x: 0 < x < math.inf, "positive"),
    ):
        for key in keys:
            if key in cfg and not holds(cfg[key]):
                raise ValueError(f"{key}={cfg[key]}: expected {wanted}")
    if "promote" in cfg and cfg.promote <= cfg.demote:
        raise ValueError(f"promote={cfg.promote} has to be above demote={cfg.demote}: no success would meet both")
    if "neighbours" in cfg and cfg.neighbours > cfg.window // 2:
        raise ValueError(f"neighbours={cfg.neighbours}: expected at most half of window={cfg.window}")
    if "fit_every" in cfg and cfg.fit_every > cfg.get("window", cfg.fit_every):
        raise ValueError(f"fit_every={cfg.fit_every}: expected at most window={cfg.window}")
