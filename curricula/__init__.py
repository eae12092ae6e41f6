"""Teachers: what assigns difficulty and factors to the envs while an agent trains."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from curricula import config
from curricula.definition import TeacherDef
from curricula.registry import TEACHERS, get

if TYPE_CHECKING:
    import torch
    from omegaconf import DictConfig

    from curricula.teacher import Teacher
    from tasks.spec import TaskSpec


def names() -> list[str]:
    """Names of the suite's own teachers: what `--curriculum all` means."""
    return TEACHERS.builtin_names()


def known() -> list[str]:
    """Names that `make` takes, and `--curriculum`: the suite's own, and those of installed packages."""
    return TEACHERS.names()


def make(cfg: DictConfig, spec: TaskSpec, level: str, num_envs: int, device: str | torch.device, seed: int) -> Teacher:
    """Build the teacher that `cfg` (see `curricula.config`) describes for a task at a randomisation level.

    Raises `ValueError` for settings that the task or the level cannot serve.
    """
    from curricula.space import Space

    config.check(cfg, spec, level)
    definition = get(cfg.name)
    teacher_class = _class(definition)
    space = Space(spec, config.moved(cfg, spec), cfg.grade, level, device)
    teacher = teacher_class(space, cfg, num_envs, seed)
    teacher.needs_advantage = definition.schema.needs_advantage(cfg)
    return teacher


def _class(definition: TeacherDef) -> type[Teacher]:
    from curricula.teacher import Teacher

    module, _, name = definition.teacher.partition(":")
    found = getattr(import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, Teacher)):
        raise TypeError(f"{definition.teacher} of {definition.name} is no subclass of curricula.teacher.Teacher")
    return found
