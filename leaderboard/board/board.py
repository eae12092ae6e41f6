"""The leaderboard as data: rows with estimates and intervals, computed from complete runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

import suite
import tasks as declared
from leaderboard import curricula
from leaderboard.data import parallel
from leaderboard.data import runs as runs_module
from leaderboard.data.evaluations import Evaluation
from leaderboard.data.runs import Entry, Run, Skipped
from leaderboard.stats import intervals, statistics
from leaderboard.stats.intervals import Difference, Spread
from leaderboard.stats.statistics import Strata
from suite.errors import first_line, printable
from suite.report.compare import holm
from tasks.spec import GRADES

SEEDS_TO_RANK = 5
BUDGETS = ("full", "quick", "smoke")  # in the order of the page; any others follow
PARALLEL_FROM = 100  # ranking rows
THRESHOLD = 0.5  # success that a curriculum has to reach


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
class Versus:
    """A ranked row against the next ranked one below it."""

    difference: Difference  # of scores; its p-value allows for all such tests within the budget (Holm)
    improvement: Estimate  # probability that a run of this row beats one of the next


@dataclass(frozen=True)
class RankRow:
    """One entry over its tasks of the suite, or over others if it has none of these.

    `rank` counts within the budget; None with the reason in `unranked`.
    """

    entry: Entry
    rank: int | None
    unranked: str
    score: Estimate
    iqm: Estimate
    median: Estimate
    optimality_gap: Estimate
    spread: Spread  # of the score
    grades: tuple[float, ...]  # mean over tasks
    seeds: int  # of the task that has the fewest
    rows: tuple[TaskRow, ...]
    versus: Versus | None = None  # None in the last ranked row, and without a rank

    @property
    def runs(self) -> list[Run]:
        """All runs behind the row."""
        return [run for row in self.rows for run in row.runs]

    @property
    def by_task(self) -> dict[str, TaskRow]:
        """Its rows by their task."""
        return {row.task: row for row in self.rows}


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
        ranking=tuple(_rank(results, declared.names())),
        results=tuple(results),
        engines=tuple(_engine_rows(results)),
        runs=tuple(sorted(runs, key=lambda run: run.key)),
        skipped=tuple(sorted(skipped)),
        curricula=tuple(curricula.compare(runs, THRESHOLD)),
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


def _known(run: Run, engine: str) -> Evaluation:
    """The run's evaluation on `engine`. Raises `KeyError` if it has none."""
    if (found := evaluation_on(run, engine)) is None:
        raise KeyError(f"{run.path} has no evaluation on {engine}")
    return found


def generator(*name: object) -> np.random.Generator:
    """A generator seeded by what it is for: a row's interval does not move when other rows come or go."""
    digest = hashlib.sha256(json.dumps([str(part) for part in name]).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))


def counts(runs: Sequence[Run], engine: str) -> tuple[np.ndarray, np.ndarray]:
    """Successes and episodes [seeds, grades]."""
    evaluations = [_known(run, engine) for run in runs]
    return np.stack([e.successes for e in evaluations]), np.stack([e.episodes for e in evaluations])


def rates(rows: Sequence[TaskRow]) -> Strata:
    """Success [seeds, grades] of each row."""
    return [k / n for k, n in (counts(row.runs, row.engine) for row in rows)]


def estimate(value: float, low: float, high: float) -> Estimate:
    """An estimate of a share; rounding may put a limit 1e-16 on the wrong side of it."""
    return Estimate(float(value), float(max(0.0, min(low, value))), float(min(1.0, max(high, value))))


def _task_rows(groups: Sequence[tuple[Sequence[Run], str]]) -> list[TaskRow]:
    """A row for each group: runs of one entry on one task, by seed, and the engine that they are evaluated on."""
    by_seeds: dict[int, list[int]] = defaultdict(list)
    for i, (runs, _) in enumerate(groups):
        by_seeds[len(runs)].append(i)
    rows: dict[int, TaskRow] = {}
    for same in by_seeds.values():  # all rows of as many seeds at once: there may be thousands
        found = [counts(*groups[i]) for i in same]
        k, n = (np.stack(arrays) for arrays in zip(*found, strict=True))  # [rows, seeds, grades]
        rates = (k / n).mean(axis=1)
        limits = np.stack([rates, *intervals.success_interval(k, n)], axis=-1)
        means = np.stack([rates.mean(axis=1), *intervals.success_interval(k, n, axis=-1)], axis=-1)
        totals = np.stack([k.sum(axis=1), n.sum(axis=1)], axis=-1).tolist()
        for i, cells, counted, mean in zip(same, limits.tolist(), totals, means.tolist(), strict=True):
            runs, engine = groups[i]
            returns = np.mean([_known(run, engine).returns for run in runs], axis=0).tolist()
            row = [Cell(estimate(*c), t[0], t[1], r) for c, t, r in zip(cells, counted, returns, strict=True)]
            rows[i] = TaskRow(runs[0].task, runs[0].entry, engine, tuple(row), estimate(*mean), tuple(runs))
    return [rows[i] for i in range(len(groups))]


def _rank(results: Sequence[TaskRow], tasks: Sequence[str]) -> list[RankRow]:
    every: dict[Entry, list[TaskRow]] = defaultdict(list)
    for row in results:
        every[row.entry].append(row)
    groups = {entry: [row for row in rows if row.task in tasks] or rows for entry, rows in every.items()}
    data = [(entry, [counts(row.runs, row.engine) for row in rows]) for entry, rows in groups.items()]
    scores = parallel.each(_score, data, PARALLEL_FROM)
    ranking = [_rank_row(entry, rows, tasks, s) for (entry, rows), s in zip(groups.items(), scores, strict=True)]
    # Entries that lack tasks stand as if without success in these: a high score on an easy task is no lead.
    place = {
        row.entry: (_missing(row.rows, tasks) > 0, -len(row.rows) * row.score.value * (row.rows[0].task in tasks))
        for row in ranking
    }
    ranking.sort(key=lambda r: (budget_order(r.entry.budget), *place[r.entry], r.entry))
    placed: dict[str, list[RankRow]] = defaultdict(list)  # by budget
    for row in ranking:
        if not row.unranked:
            placed[row.entry.budget].append(row)
    numbered = {row.entry: row for rows in placed.values() for row in _numbered(rows)}
    return [numbered.get(row.entry, row) for row in ranking]


type Limits = tuple[float, float, float]  # a value, and the lower and upper limit of its interval
type Scores = tuple[dict[str, Limits], Spread]  # limits of `score`, `iqm` and `median`; spread of the score


def _score(entry: Entry, data: Sequence[tuple[np.ndarray, np.ndarray]]) -> Scores:
    """Score, IQM and median with their intervals, and the score's spread."""
    successes, episodes = [k for k, _ in data], [n for _, n in data]
    observed = [k / n for k, n in data]
    spread = intervals.combine([intervals.seed_spread(k, n, axis=-1) for k, n in data])
    draws = intervals.resample(successes, episodes, generator("score", entry))
    found: dict[str, Limits] = {}
    for name, statistic in (("score", statistics.mean), ("iqm", statistics.iqm), ("median", statistics.median)):
        point = float(statistic(observed))
        low, high = intervals.bootstrap_interval(point, statistic(draws), spread)
        if name == "score" and low == high:  # every seed alike: the episodes still say how sure that is
            trials = np.array(sum(n.sum() for n in episodes))
            low, high = intervals.spread_interval(np.array(point), trials, spread)
        found[name] = (point, float(low), float(high))
    return found, spread


def _missing(rows: Sequence[TaskRow], tasks: Sequence[str]) -> int:
    """How many of the tasks that are ranked have no row."""
    return len(set(tasks) - {row.task for row in rows})


def _rank_row(entry: Entry, rows: Sequence[TaskRow], tasks: Sequence[str], scores: Scores) -> RankRow:
    limits, spread = scores
    score = estimate(*limits["score"])
    gap = float(statistics.optimality_gap(rates(rows)))
    seeds = min(len(row.runs) for row in rows)
    unranked = ""
    if all(is_reference(row) for row in rows):
        unranked = "reference"
    elif rows[0].task not in tasks:
        unranked = "no task of the suite"
    elif missing := _missing(rows, tasks):
        unranked = f"{len(tasks) - missing} of {len(tasks)} tasks"
    elif seeds < SEEDS_TO_RANK:
        unranked = f"{seeds} of {SEEDS_TO_RANK} seeds"
    return RankRow(
        entry=entry,
        rank=None,
        unranked=unranked,
        score=score,
        iqm=estimate(*limits["iqm"]),
        median=estimate(*limits["median"]),
        optimality_gap=estimate(gap, 1 - score.high, 1 - score.low),
        spread=spread,
        grades=tuple(float(np.mean([row.cells[i].success.value for row in rows])) for i in range(len(GRADES))),
        seeds=seeds,
        rows=tuple(rows),
    )


def _numbered(rows: Sequence[RankRow]) -> list[RankRow]:
    """Ranks, where equal scores share one, and each row against the next, for the ranked rows of one budget."""
    values = [row.score.value for row in rows]
    pairs = list(pairwise(rows))
    differences = [intervals.difference(a.score.value, b.score.value, a.spread, b.spread) for a, b in pairs]
    adjusted = holm([d.p for d in differences])
    versus = [_versus(a, b, replace(d, p=p)) for (a, b), d, p in zip(pairs, differences, adjusted, strict=True)]
    return [
        replace(row, rank=values.index(row.score.value) + 1, versus=v)
        for row, v in zip(rows, [*versus, None], strict=True)
    ]


def improvement(better: RankRow, other: RankRow) -> float:
    """Probability that a run of one row beats a run of the other, over tasks and grades that both have.

    NaN where they have no task in common.
    """
    ours, theirs = _on_common_tasks(better, other)
    return statistics.probability_of_improvement(ours, theirs) if ours else math.nan


def _versus(better: RankRow, other: RankRow, difference: Difference) -> Versus:
    scores = _on_common_tasks(better, other)
    rng = generator("improvement", better.entry, other.entry)
    limits = intervals.improvement_interval(*scores, rng)
    return Versus(difference, estimate(statistics.probability_of_improvement(*scores), *limits))


def _on_common_tasks(a: RankRow, b: RankRow) -> tuple[Strata, Strata]:
    x, y = a.by_task, b.by_task
    common = [task for task in x if task in y]
    return rates([x[task] for task in common]), rates([y[task] for task in common])


def _engine_rows(results: Sequence[TaskRow]) -> list[EngineRow]:
    sides: list[tuple[list[Run], str]] = []
    for row in results:
        for engine in sorted({e.engine for run in row.runs for e in run.others}):
            both = [run for run in row.runs if evaluation_on(run, engine)]
            sides += [(both, row.entry.engine), (both, engine)]
    rows = _task_rows(sides)
    return [EngineRow(own, other) for own, other in zip(rows[::2], rows[1::2], strict=True)]
