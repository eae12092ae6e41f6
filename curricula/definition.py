"""What the suite knows of a teacher: one object each. Imports no torch.

A teacher is a module with its class, and a `TeacherDef` with the dataclass of its settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.core import settings
from tasks.core.settings import any_value, one_of
from tasks.spec import GRADES

TARGETS = ("difficulty", "factors", "both")


@dataclass
class CurriculumConfig:
    """`none`, and what every teacher has."""

    name: str = any_value("none")
    grade: str = one_of(GRADES, "g3")  # of every episode where the teacher does not move the difficulty

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Raise `ValueError`, naming the key, for values that each are right and do not go together."""

    @classmethod
    def needs_advantage(cls, values: Mapping[str, Any]) -> bool:
        """Whether the teacher learns from `Episodes.advantage`, which only on-policy algorithms know."""
        return False


@dataclass
class TeacherConfig(CurriculumConfig):
    """`uniform`, and what every teacher that teaches has."""

    target: str = one_of(TARGETS, "difficulty")  # what it moves
    factors: list[str] = field(default_factory=list)  # which factors, if any: all that are trainable where empty


@dataclass(frozen=True)
class TeacherDef:
    """One teacher. Raises `ValueError` for a definition that leaves something open.

    Attributes:
        name: what `--curriculum` takes.
        schema: the dataclass of its settings, a subclass of `TeacherConfig`, with their defaults.
        teacher: its class, a subclass of `curricula.teacher.Teacher`, as `module:class`.
        summary: what it does, in one line.
        paper: what it follows; empty for a teacher of your own.
    """

    name: str
    schema: type[CurriculumConfig]
    teacher: str
    summary: str
    paper: str

    def __post_init__(self) -> None:
        schema: type = self.schema  # a package may give any
        if not issubclass(schema, CurriculumConfig):
            raise ValueError(f"teacher {self.name}: its schema has to be a subclass of TeacherConfig")
        if without := settings.without_rule(self.schema):
            raise ValueError(
                f"teacher {self.name}: {self.schema.__name__}.{without[0]} does not say which values it takes;"
                " declare it with a function of tasks.core.settings"
            )
        if not all(part.strip() for part in self.teacher.partition(":")[::2]):
            raise ValueError(f"teacher {self.name}: {self.teacher!r} is not module:class")
        if not self.summary.strip() or "\n" in self.summary:
            raise ValueError(f"teacher {self.name}: expected a summary of one line")

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise `ValueError`, naming the key, for values that no training can use."""
        settings.check(self.schema, values)
        self.schema.check(values)
