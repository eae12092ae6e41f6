"""`toy-line`: the point mass of `toy-reach` on a line, for tests of one policy for several tasks."""

from __future__ import annotations

from dataclasses import replace

from tasks.spec import Term, axis_actions
from tasks.toy.reach import SPEC as REACH

SPEC = replace(
    REACH,
    name="toy-line",
    summary="A point mass has to reach a goal on a line (no simulator; for tests).",
    observations=(
        Term("position", 1, "m", sigma=0.01),
        Term("velocity", 1, "m/s", sigma=0.02),
        Term("goal", 1, "m", "goal minus position", sigma=0.01),
    ),
    actions=(Term("acceleration", 1, "4 m/s²"),),
    discrete_actions=axis_actions(1),
    success_when="once",
    factors=tuple(factor for factor in REACH.factors if factor.name in ("mass", "drag", "wind")),
)
