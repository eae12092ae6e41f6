"""The columns of episodes.parquet: what the suite writes, what both readers of the leaderboard expect."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from tasks.spec import TaskSpec

FACTOR, VIOLATION = "factor.", "violation."
"""Beginnings of the columns that a task adds: one for each of its factors, and for each of its safety limits."""


@dataclass(frozen=True)
class Column:
    """One column. `late`: files from before the robustness protocol may lack it, or it is read in submissions alone."""

    name: str
    type: pa.DataType
    about: str
    late: bool = False


COLUMNS = (
    Column("task", pa.string(), "its name"),
    Column("algo", pa.string(), "the algorithm, or the reference policy"),
    Column("grade", pa.string(), "`g1` to `g5`"),
    Column("cell", pa.string(), "the cell of the protocol", late=True),
    Column("difficulty", pa.float64(), "of the grade, from 0 to 1", late=True),
    Column("seed", pa.int64(), "of the evaluation", late=True),
    Column("env", pa.int64(), "row of the env batch", late=True),
    Column("episode", pa.int64(), "which one of its env, from 0", late=True),
    Column("return", pa.float64(), "sum of the rewards; NaN where there was none"),
    Column("length", pa.int64(), "steps"),
    Column("success_once", pa.bool_(), "whether it succeeded at any step", late=True),
    Column("success_at_end", pa.bool_(), "whether it succeeded at its last step", late=True),
    Column("success", pa.bool_(), "whether it succeeded, by the task's rule"),
    Column("termination", pa.string(), "how it ended", late=True),
    Column("engine", pa.string(), "that stepped the physics"),
)

NEEDED = tuple(column.name for column in COLUMNS if not column.late)
"""Columns that every file has, also those from before the robustness protocol."""


def schema(spec: TaskSpec) -> pa.Schema:
    """Names and types of all columns of a task's episodes, in the order in which they are written."""
    return pa.schema(
        [
            *((column.name, column.type) for column in COLUMNS),
            *((f"{FACTOR}{factor.name}", pa.float64()) for factor in spec.factors),
            *((f"{VIOLATION}{limit}", pa.int64()) for limit in spec.safety),
        ]
    )
