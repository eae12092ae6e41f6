"""The curricula part of the page: entries that differ in nothing but their curriculum, side by side."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leaderboard import curricula
from leaderboard.board.board import THRESHOLD, Board
from leaderboard.board.rows import TaskRow, is_reference, outcomes
from leaderboard.data.runs import Entry
from leaderboard.stats import crossed, intervals
from leaderboard.stats.intervals import Difference

AT = f"{100 * THRESHOLD:.0f}"
MEASURES = (  # field of `leaderboard.curricula.Metrics`, heading, what it is, and factor to the unit that is shown
    ("steps_to_threshold", f"M steps to {AT}", f"million env steps until mean success reaches {AT} percent", 1e-6),
    ("seconds_to_threshold", f"s to {AT}", "seconds until then, the teacher's own included", 1.0),
    ("jump_start", "Jump-start", "success early in the training, percent", 100.0),
    ("asymptote", "Asymptote", "success at its end, percent", 100.0),
    ("area", "Area", "mean success along the training, percent", 100.0),
    ("forgetting", "Forgetting", "points of success that were lost on lower grades", 100.0),
    ("transfer", "Transfer", "to higher grades, points", 100.0),
    ("teacher_share", "Teacher %", "share of the training's time, percent", 100.0),
)


@dataclass(frozen=True)
class Taught:
    """One curriculum on one task; `against` has the difference of mean success to each baseline that is there."""

    row: TaskRow
    against: dict[str, Difference]


@dataclass(frozen=True)
class Along:
    """One curriculum along the training: means over seeds, and differences of area to the baselines, same seeds."""

    curriculum: str
    seeds: int
    cells: tuple[tuple[float | None, str], ...]
    against: dict[str, float]


def context(board: Board) -> dict[str, Any]:
    """What the page of curricula shows."""
    groups: dict[tuple[str, Entry], list[TaskRow]] = defaultdict(list)
    for row in board.results:
        if not is_reference(row):
            groups[row.task, replace(row.entry, curriculum="")].append(row)
    shown: list[tuple[str, str, list[Taught]]] = []
    for (task, entry), rows in groups.items():
        if len(rows) > 1:
            title = " · ".join((entry.algo, entry.randomization, entry.engine, entry.budget))
            shown.append((title, task, [_taught(row, rows) for row in rows]))
    present = {c.row.entry.curriculum for _, _, rows in shown for c in rows}
    return {
        "groups": shown,
        "references": curricula.REFERENCES,
        "baselines": [name for name in curricula.REFERENCES if name in present],
        "threshold": THRESHOLD,
        "measures": [(title, explained) for _, title, explained, _ in MEASURES],
        "comparisons": [(c, [_along(row) for row in c.rows]) for c in board.curricula if len(c.rows) > 1],
    }


def _along(row: curricula.Row) -> Along:
    cells: list[tuple[float | None, str]] = []
    for name, _, _, scale in MEASURES:
        values = np.array([getattr(m, name) for m in row.metrics])
        known = values[np.isfinite(values)]
        missed = f" ({len(known)} of {len(values)})" if 0 < len(known) < len(values) else ""
        mean = float(known.mean()) if len(known) else None
        cells.append((mean, "never" if mean is None else f"{mean * scale:.3g}{missed}"))
    differences = {name: float(d.area) for name, d in row.differences.items() if np.isfinite(d.area)}
    return Along(row.curriculum, len(row.seeds), tuple(cells), differences)


def _taught(row: TaskRow, rows: list[TaskRow]) -> Taught:
    others = {r.entry.curriculum: r for r in rows if r is not row and r.entry.curriculum in curricula.REFERENCES}
    return Taught(row, {name: _difference(row, other) for name, other in others.items()})


def _difference(row: TaskRow, other: TaskRow) -> Difference:
    spread = crossed.difference_spread(*(outcomes(r.runs, r.engine) for r in (row, other)))
    return intervals.difference(row.mean.value - other.mean.value, spread)
