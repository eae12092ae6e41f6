"""The ranking: entries over the tasks of the suite version, within a budget."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from leaderboard.board.rows import Estimate, TaskRow, estimate, generator, is_reference, outcomes, rates
from leaderboard.data.runs import Entry, Run
from leaderboard.stats import crossed, intervals, statistics
from leaderboard.stats.intervals import Difference
from leaderboard.stats.statistics import Strata
from suite.report.compare import holm
from tasks.spec import GRADES

SEEDS_TO_RANK = 5
BUDGETS = ("full", "quick", "smoke")  # in the order of the page; any others follow


@dataclass(frozen=True)
class Versus:
    """A ranked row against the next ranked one below it."""

    difference: Difference  # of scores; its p-value allows for all such tests within the budget (Holm)
    improvement: Estimate  # probability that a run of this row beats one of the next


@dataclass(frozen=True)
class RankRow:
    """One entry over its tasks of the suite, or over others if it has none of these.

    `rank` counts within the budget; None with the reason in `unranked`. `score` is NaN unless all tasks are there.
    """

    entry: Entry
    rank: int | None
    unranked: str
    score: Estimate
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


def budget_order(budget: str) -> tuple[int, str]:
    """Sort key: the largest budget first."""
    return (BUDGETS.index(budget) if budget in BUDGETS else len(BUDGETS)), budget


def rank(results: Sequence[TaskRow], tasks: Sequence[str]) -> list[RankRow]:
    """A row for each entry, those with a rank numbered; `tasks` are the suite version's."""
    every: dict[Entry, list[TaskRow]] = defaultdict(list)
    for row in results:
        every[row.entry].append(row)
    groups = {entry: [row for row in rows if row.task in tasks] or rows for entry, rows in every.items()}
    ranking = [_rank_row(entry, rows, tasks) for entry, rows in groups.items()]
    # Entries that lack tasks stand as if without success in these: a high score on an easy task is no lead.
    place = {
        row.entry: (_missing(row.rows, tasks) > 0, -sum(r.mean.value for r in row.rows if r.task in tasks))
        for row in ranking
    }
    ranking.sort(key=lambda r: (budget_order(r.entry.budget), *place[r.entry], r.entry))
    placed: dict[str, list[RankRow]] = defaultdict(list)  # by budget
    for row in ranking:
        if not row.unranked:
            placed[row.entry.budget].append(row)
    numbered = {row.entry: row for rows in placed.values() for row in _numbered(rows)}
    return [numbered.get(row.entry, row) for row in ranking]


def _score(rows: Sequence[TaskRow]) -> Estimate:
    """Mean over tasks of the mean over grades. Trainings on different tasks are independent."""
    cells = [outcomes(row.runs, row.engine) for row in rows]
    spread = intervals.combine([crossed.components(c).spread for c in cells])
    point = np.array(statistics.mean(rates(rows)))
    if np.isnan(spread.variance):
        return Estimate(float(point), np.nan, np.nan)
    return estimate(point, *intervals.spread_interval(point, np.array(sum(map(crossed.trials, cells))), spread))


def _missing(rows: Sequence[TaskRow], tasks: Sequence[str]) -> int:
    """How many of the tasks that are ranked have no row."""
    return len(set(tasks) - {row.task for row in rows})


def _rank_row(entry: Entry, rows: Sequence[TaskRow], tasks: Sequence[str]) -> RankRow:
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
        score=_score(rows) if not _missing(rows, tasks) else Estimate(math.nan, math.nan, math.nan),
        grades=tuple(float(np.mean([row.cells[i].success.value for row in rows])) for i in range(len(GRADES))),
        seeds=seeds,
        rows=tuple(rows),
    )


def _numbered(rows: Sequence[RankRow]) -> list[RankRow]:
    """Ranks, where equal scores share one, and each row against the next, for the ranked rows of one budget."""
    values = [row.score.value for row in rows]
    pairs = list(pairwise(rows))
    differences = [_difference(a, b) for a, b in pairs]
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


def _difference(a: RankRow, b: RankRow) -> Difference:
    """Of the scores of two rows that have all tasks: of one budget, evaluated on the same start states."""
    theirs = b.by_task
    pairs = [(row, theirs[row.task]) for row in a.rows]
    spreads = [crossed.difference_spread(*(outcomes(r.runs, r.engine) for r in pair)) for pair in pairs]
    return intervals.difference(a.score.value - b.score.value, intervals.combine(spreads))


def _versus(better: RankRow, other: RankRow, difference: Difference) -> Versus:
    scores = _on_common_tasks(better, other)
    rng = generator("improvement", better.entry, other.entry)
    limits = intervals.improvement_interval(*scores, rng)
    return Versus(difference, estimate(statistics.probability_of_improvement(*scores), *limits))


def _on_common_tasks(a: RankRow, b: RankRow) -> tuple[Strata, Strata]:
    x, y = a.by_task, b.by_task
    common = [task for task in x if task in y]
    return rates([x[task] for task in common]), rates([y[task] for task in common])
