"""The teachers by name: the suite's own, and those of installed packages (entry points `gradus.curricula`)."""

from __future__ import annotations

from typing import Any

from curricula.definition import TeacherDef
from tasks.core.registry import Registry, instance_of


def _wrong(name: str, found: Any) -> str | None:
    if reason := instance_of(TeacherDef)(name, found):
        return reason
    return None if found.name == name else f"says that its name is {found.name!r}"


TEACHERS: Registry[TeacherDef] = Registry(
    "gradus.curricula",
    "teacher",
    {
        "none": "curricula.builtin:NONE",
        "uniform": "curricula.builtin:UNIFORM",
        "staged": "curricula.builtin:STAGED",
        "reverse": "curricula.builtin:REVERSE",
        "adr": "curricula.builtin:ADR",
        "plr": "curricula.builtin:PLR",
        "alp_gmm": "curricula.builtin:ALP_GMM",
        "spdl": "curricula.builtin:SPDL",
    },
    _wrong,
)


def get(name: str) -> TeacherDef:
    """The teacher called `name`. Raises `ValueError` for another name, or for one that cannot be loaded."""
    if name not in TEACHERS:
        raise ValueError(f"unknown teacher {str(name)[:60]!r}; valid: {', '.join(TEACHERS.names())}")
    return TEACHERS.get(name)
