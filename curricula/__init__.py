"""Teachers: what assigns difficulty and factors to the envs while an agent trains."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from curricula import config

if TYPE_CHECKING:
    import torch
    from omegaconf import DictConfig

    from curricula.teacher import Teacher
    from tasks.spec import TaskSpec


@dataclass(frozen=True)
class About:
    """What a teacher does, in one line, the paper it follows, and its class as `module:class`."""

    summary: str
    paper: str
    teacher: str


_TEACHERS = {
    "none": About("every episode at one grade", "", "curricula.teachers.fixed:FixedGrade"),
    "uniform": About(
        "uniform over the whole range",
        "domain randomisation, Tobin et al. 2017, arXiv:1703.06907",
        "curricula.teachers.fixed:Uniform",
    ),
    "staged": About(
        "each env climbs and falls by its own success",
        "game-inspired curriculum, Rudin et al. 2022, arXiv:2109.11978",
        "curricula.teachers.staged:Staged",
    ),
    "reverse": About(
        "outward from the easiest start, along what is sometimes solved",
        "reverse curriculum generation, Florensa et al. 2017, arXiv:1707.05300",
        "curricula.teachers.reverse:Reverse",
    ),
    "adr": About(
        "ranges that grow and shrink with success at their boundary",
        "automatic domain randomisation, OpenAI et al. 2019, arXiv:1910.07113",
        "curricula.teachers.adr:AutomaticRandomization",
    ),
    "plr": About(
        "replays the levels from which most can be learned",
        "prioritised level replay, Jiang et al. 2021, arXiv:2010.03934; scored by learnability, Rutherford et al. 2024,"
        " arXiv:2408.15099, or by advantage",
        "curricula.teachers.plr:LevelReplay",
    ),
    "alp_gmm": About(
        "a Gaussian mixture over where success changes",
        "absolute learning progress, Portelas et al. 2019, arXiv:1910.07224",
        "curricula.teachers.alp_gmm:LearningProgress",
    ),
    "spdl": About(
        "a Gaussian that widens to the target while success holds",
        "self-paced learning, Klink et al. 2021, arXiv:2102.13176",
        "curricula.teachers.spdl:SelfPaced",
    ),
}


def names() -> list[str]:
    """Names that `make` takes, and `--curriculum`."""
    return list(_TEACHERS)


def about(name: str) -> About:
    """What the teacher `name` is. Raises `KeyError` for another name."""
    return _TEACHERS[name]


def make(cfg: DictConfig, spec: TaskSpec, level: str, num_envs: int, device: str | torch.device, seed: int) -> Teacher:
    """Build the teacher that `cfg` (see `curricula.config`) describes for a task at a randomisation level.

    Raises `ValueError` for settings that the task or the level cannot serve.
    """
    from curricula.space import Space

    config.check(cfg, spec, level)
    module, name = _TEACHERS[cfg.name].teacher.split(":")
    space = Space(spec, config.moved(cfg, spec), cfg.grade, level, device)
    return getattr(import_module(module), name)(space, cfg, num_envs, seed)
