"""The curricula part of the page: entries that differ in nothing but their curriculum, side by side."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from leaderboard import intervals
from leaderboard.board import Board, TaskRow, counts, is_reference
from leaderboard.intervals import Difference

BASELINES = ("none", "uniform")


@dataclass(frozen=True)
class Taught:
    """One curriculum on one task; `against` has the difference of mean success to each baseline that is there."""

    row: TaskRow
    against: dict[str, Difference]
    measures: tuple[tuple[float | None, str], ...] = ()


def context(board: Board) -> dict[str, Any]:
    """What the page of curricula shows."""
    groups: dict[tuple, list[TaskRow]] = defaultdict(list)
    for row in board.results:
        if not is_reference(row):
            groups[row.task, replace(row.entry, curriculum="")].append(row)
    shown = []
    for (task, entry), rows in groups.items():
        if len(rows) > 1:
            title = " · ".join((entry.algo, entry.randomization, entry.engine, entry.budget))
            shown.append((title, task, [_taught(row, rows) for row in rows]))
    present = {c.row.entry.curriculum for _, _, rows in shown for c in rows}
    return {"groups": shown, "baselines": [b for b in BASELINES if b in present], "measures": [], "figures": []}


def _taught(row: TaskRow, rows: list[TaskRow]) -> Taught:
    others = {r.entry.curriculum: r for r in rows if r is not row and r.entry.curriculum in BASELINES}
    return Taught(row, {name: _difference(row, other) for name, other in others.items()})


def _difference(row: TaskRow, other: TaskRow) -> Difference:
    spreads = [intervals.seed_spread(*counts(r.runs, r.engine), axis=-1) for r in (row, other)]
    return intervals.difference(row.mean.value, other.mean.value, *spreads)
