"""The leaderboard as data: rows with estimates and intervals, computed from complete runs."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import suite
from leaderboard import runs as runs_module
from leaderboard import statistics
from leaderboard.runs import Entry, Evaluation, Run, Skipped
from leaderboard.schema import GRADES

SEEDS_TO_RANK = 5
BUDGETS = ("full", "quick", "smoke")  # in the order of the page; any others follow


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Cell:
    """One grade of a row: success over seeds, and what it was counted from."""

    success: Estimate
    successes: int
    episodes: int
    return_mean: float  # NaN where an episode has no return


@dataclass(frozen=True)
class TaskRow:
    """One entry on one task, evaluated on `engine`: a cell per grade, and the mean over grades."""

    task: str
    entry: Entry
    engine: str
    cells: tuple[Cell, ...]
    mean: Estimate
    runs: tuple[Run, ...]  # by seed


@dataclass(frozen=True)
class EngineRow:
    """One entry on one task, evaluated on an engine other than its own, beside the same seeds on its own."""

    own: TaskRow
    other: TaskRow

    @property
    def change(self) -> float:
        """Mean success on the other engine minus that on its own."""
        return self.other.mean.value - self.own.mean.value


@dataclass(frozen=True)
class RankRow:
    """One entry over all its tasks. `rank` counts within the budget; None with the reason in `unranked`."""

    entry: Entry
    rank: int | None
    unranked: str
    score: Estimate
    iqm: Estimate
    optimality_gap: Estimate
    seeds: int  # of the task that has the fewest
    rows: tuple[TaskRow, ...]


@dataclass(frozen=True)
class Board:
    """All that the page shows. Every tuple is sorted, so equal runs give an equal board."""

    suite_version: str
    tasks: tuple[str, ...]
    ranking: tuple[RankRow, ...]
    results: tuple[TaskRow, ...]
    engines: tuple[EngineRow, ...]
    runs: tuple[Run, ...]
    skipped: tuple[Skipped, ...]

    @property
    def newest(self) -> datetime:
        """When the newest run ended, UTC: the page's time stamp. Raises `ValueError` on an empty board."""
        return max(run.ended for run in self.runs).astimezone(UTC)


def load(root: Path) -> Board:
    """Read all run directories under `root` and compute their board, which may be empty. Raises `OSError`."""
    found = runs_module.find(root)
    return make(found.runs, found.skipped)


def make(runs: Iterable[Run], skipped: Iterable[Skipped] = ()) -> Board:
    """Compute the board of `runs`, in whatever order they come."""
    runs = sorted(runs, key=lambda run: run.key)
    groups: dict[tuple[str, Entry], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.task, run.entry].append(run)
    results = [_task_row(group, group[0].entry.engine) for group in groups.values()]
    results.sort(key=lambda row: (row.task, budget_order(row.entry.budget), -row.mean.value, row.entry))
    tasks = tuple(sorted({row.task for row in results}))
    return Board(
        suite_version=suite.__version__,
        tasks=tasks,
        ranking=tuple(_rank(results, tasks)),
        results=tuple(results),
        engines=tuple(_engine_rows(results)),
        runs=tuple(runs),
        skipped=tuple(sorted(skipped)),
    )


def budget_order(budget: str) -> tuple[int, str]:
    """Sort key: the largest budget first."""
    return (BUDGETS.index(budget) if budget in BUDGETS else len(BUDGETS)), budget


def is_reference(row: TaskRow) -> bool:
    """True for policies that were not trained, such as `random` and `zero`."""
    return all(run.result["env_steps"] == 0 for run in row.runs)


def evaluation_on(run: Run, engine: str) -> Evaluation | None:
    """The run's evaluation on `engine`, or None."""
    return next((e for e in (run.evaluation, *run.others) if e.engine == engine), None)


def _generator(*name: object) -> np.random.Generator:
    """A generator seeded by what it is for: a row's interval does not move when other rows come or go."""
    digest = hashlib.sha256(json.dumps([str(part) for part in name]).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))


def _counts(runs: Sequence[Run], engine: str) -> tuple[np.ndarray, np.ndarray]:
    """Successes and episodes [seeds, grades]."""
    evaluations = [evaluation_on(run, engine) for run in runs]
    return np.stack([e.successes for e in evaluations]), np.stack([e.episodes for e in evaluations])


def _task_row(runs: Sequence[Run], engine: str) -> TaskRow:
    task, entry = runs[0].task, runs[0].entry
    successes, episodes = _counts(runs, engine)
    returns = np.stack([evaluation_on(run, engine).returns for run in runs])
    cells = []
    for i, grade in enumerate(GRADES):
        k, n = successes[:, i : i + 1], episodes[:, i : i + 1]
        cells.append(
            Cell(
                success=_mean([k], [n], task, entry, engine, grade),
                successes=int(k.sum()),
                episodes=int(n.sum()),
                return_mean=float(returns[:, i].mean()),
            )
        )
    overall = _mean([successes], [episodes], task, entry, engine)
    return TaskRow(task, entry, engine, tuple(cells), overall, tuple(runs))


def _mean(successes: statistics.Strata, episodes: statistics.Strata, *name: object) -> Estimate:
    value = float(statistics.mean(_rates(successes, episodes)))
    return _estimate(value, statistics.mean_interval(successes, episodes, _generator("mean", *name)))


def _iqm(successes: statistics.Strata, episodes: statistics.Strata, *name: object) -> Estimate:
    value = float(statistics.iqm(_rates(successes, episodes)))
    rng = _generator("iqm", *name)
    return _estimate(value, statistics.bootstrap_interval(successes, episodes, statistics.iqm, rng))


def _rates(successes: statistics.Strata, episodes: statistics.Strata) -> list[np.ndarray]:
    return [k / n for k, n in zip(successes, episodes, strict=True)]


def _estimate(value: float, interval: tuple[float, float]) -> Estimate:
    low, high = interval
    return Estimate(value, min(low, value), max(high, value))  # rounding may put a limit 1e-16 on the wrong side


def _rank(results: Sequence[TaskRow], tasks: Sequence[str]) -> list[RankRow]:
    groups: dict[Entry, list[TaskRow]] = defaultdict(list)
    for row in results:
        groups[row.entry].append(row)
    ranking = [_rank_row(entry, rows, len(tasks)) for entry, rows in groups.items()]
    ranking.sort(key=lambda r: (budget_order(r.entry.budget), len(r.rows) < len(tasks), -r.score.value, r.entry))
    placed: dict[str, list[float]] = defaultdict(list)  # scores of the ranked rows so far, by budget
    numbered = []
    for row in ranking:
        if not row.unranked:
            above = placed[row.entry.budget]
            above.append(row.score.value)
            row = replace(row, rank=above.index(row.score.value) + 1)  # equal scores share a rank
        numbered.append(row)
    return numbered


def _rank_row(entry: Entry, rows: Sequence[TaskRow], num_tasks: int) -> RankRow:
    counts = [_counts(row.runs, entry.engine) for row in rows]
    successes, episodes = [k for k, _ in counts], [n for _, n in counts]
    score = _mean(successes, episodes, entry)
    gap = float(statistics.optimality_gap(_rates(successes, episodes)))
    seeds = min(len(row.runs) for row in rows)
    unranked = ""
    if all(is_reference(row) for row in rows):
        unranked = "reference"
    elif len(rows) < num_tasks:
        unranked = f"{len(rows)} of {num_tasks} tasks"
    elif seeds < SEEDS_TO_RANK:
        unranked = f"{seeds} of {SEEDS_TO_RANK} seeds"
    return RankRow(
        entry=entry,
        rank=None,
        unranked=unranked,
        score=score,
        iqm=_iqm(successes, episodes, entry),
        optimality_gap=Estimate(gap, 1 - score.high, 1 - score.low),
        seeds=seeds,
        rows=tuple(rows),
    )


def _engine_rows(results: Sequence[TaskRow]) -> list[EngineRow]:
    rows = []
    for row in results:
        for engine in sorted({e.engine for run in row.runs for e in run.others}):
            both = [run for run in row.runs if evaluation_on(run, engine)]
            rows.append(EngineRow(own=_task_row(both, row.entry.engine), other=_task_row(both, engine)))
    return rows
