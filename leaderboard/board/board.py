"""The leaderboard as data: rows with estimates and intervals, computed from complete runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import suite
import tasks as declared
from leaderboard import curricula
from leaderboard.board.ranking import RankRow, budget_order, rank
from leaderboard.board.rows import (
    UNKNOWN,
    Cell,
    EngineRow,
    Estimate,
    TaskRow,
    counts,
    estimate,
    evaluation,
    evaluation_on,
    outcomes,
    untrained,
)
from leaderboard.data import runs as runs_module
from leaderboard.data.runs import Entry, Run, Skipped
from leaderboard.stats import crossed, reliability, threshold
from suite.errors import first_line, printable
from tasks.spec import GRADES

THRESHOLD = 0.5  # success that a curriculum has to reach


@dataclass(frozen=True)
class Board:
    """All that the page shows. Every tuple is sorted, so equal runs give an equal board."""

    suite_version: str
    tasks: tuple[str, ...]  # that have results
    ranking: tuple[RankRow, ...]
    results: tuple[TaskRow, ...]
    engines: tuple[EngineRow, ...]
    runs: tuple[Run, ...]
    skipped: tuple[Skipped, ...]
    curricula: tuple[curricula.Comparison, ...]  # of the runs with a curve by grade

    @property
    def newest(self) -> datetime:
        """When the newest run ended, UTC: the page's time stamp. Raises `ValueError` on an empty board."""
        return max(run.ended for run in self.runs).astimezone(UTC)


def load(root: Path) -> Board:
    """Read all run directories under `root` and compute their board, which may be empty. Raises `OSError`."""
    found = runs_module.find(root)
    return make(found.runs, found.skipped)


def make(runs: Iterable[Run], skipped: Iterable[Skipped] = ()) -> Board:
    """Compute the board of `runs`, in whatever order they come; what cannot be computed is left out, with the reason.

    Ranks are over the tasks of the suite version, whatever tasks have results here: a run on another task, as those for
    tests, has its row and its page, and no say in any rank.
    """
    runs, skipped = sorted(runs, key=lambda run: run.key), list(skipped)
    groups: dict[tuple[str, Entry], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.task, run.entry].append(run)
    try:
        return _make(groups, runs, skipped)
    except Exception:  # one entry's numbers must not cost all others their board
        bad = {key: why for key, group in groups.items() if (why := _why_not({key: group}, group))}
        if not bad:
            raise
    skipped += [Skipped(run.path, f"it cannot be shown: {bad[key]}") for key in bad for run in groups[key]]
    sound = {key: group for key, group in groups.items() if key not in bad}
    return _make(sound, [run for group in sound.values() for run in group], skipped)


def _why_not(groups: Mapping[tuple[str, Entry], Sequence[Run]], runs: Sequence[Run]) -> str:
    try:
        _make(groups, runs, ())
    except Exception as error:
        return printable(first_line(error))[:300]
    return ""


def _make(groups: Mapping[tuple[str, Entry], Sequence[Run]], runs: Sequence[Run], skipped: Iterable[Skipped]) -> Board:
    results = _task_rows([(group, group[0].entry.engine) for group in groups.values()])
    results.sort(key=lambda row: (row.task, budget_order(row.entry.budget), -row.mean.value, row.entry))
    tasks = tuple(sorted({row.task for row in results}))
    return Board(
        suite_version=suite.__version__,
        tasks=tasks,
        ranking=tuple(rank(results, declared.names())),
        results=tuple(results),
        engines=tuple(_engine_rows(results)),
        runs=tuple(sorted(runs, key=lambda run: run.key)),
        skipped=tuple(sorted(skipped)),
        curricula=tuple(curricula.compare(runs, THRESHOLD)),
    )


def _task_rows(groups: Sequence[tuple[Sequence[Run], str]]) -> list[TaskRow]:
    """A row for each group: runs of one entry on one task, by seed, and the engine that they are evaluated on."""
    return [_task_row(runs, engine) for runs, engine in groups]


def _task_row(runs: Sequence[Run], engine: str) -> TaskRow:
    k, n = counts(runs, engine)
    by_grade = outcomes(runs, engine)
    success = (k / n).mean(axis=0)
    limits = [crossed.success_interval([cell]) for cell in by_grade]
    returns = np.mean([evaluation(run, engine).returns for run in runs], axis=0).tolist()
    totals = zip(k.sum(axis=0).tolist(), n.sum(axis=0).tolist(), strict=True)
    cells = [
        Cell(estimate(p, *between), *total, mean)
        for p, between, total, mean in zip(success, limits, totals, returns, strict=True)
    ]
    mean = estimate(success.mean(), *crossed.success_interval(by_grade))
    return TaskRow(
        task=runs[0].task,
        entry=runs[0].entry,
        engine=engine,
        cells=tuple(cells),
        mean=mean,
        runs=tuple(runs),
        d50=Estimate(*threshold.d50(by_grade, np.linspace(0, 1, len(GRADES)))),
        learned=UNKNOWN if untrained(runs) else Estimate(*reliability.learned((k / n)[:, 0])),
        first_success=_first_success(runs),
    )


def _first_success(runs: Sequence[Run]) -> float:
    found = [reliability.first_success(run.curve.env_steps, run.curve.success) for run in runs if run.curve is not None]
    if not found:
        return math.nan
    times, reached = zip(*found, strict=True)
    return reliability.quantile(np.array(times), np.array(reached))


def _engine_rows(results: Sequence[TaskRow]) -> list[EngineRow]:
    sides: list[tuple[list[Run], str]] = []
    for row in results:
        for engine in sorted({e.engine for run in row.runs for e in run.others}):
            both = [run for run in row.runs if evaluation_on(run, engine)]
            sides += [(both, row.entry.engine), (both, engine)]
    rows = _task_rows(sides)
    return [EngineRow(own, other) for own, other in zip(rows[::2], rows[1::2], strict=True)]
