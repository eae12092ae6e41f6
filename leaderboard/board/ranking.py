"""The ranking: entries over the tasks of the suite version, within a budget."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np

from leaderboard.board.rows import UNKNOWN, Estimate, TaskRow, estimate, generator, is_reference, outcomes, rates
from leaderboard.data.runs import Entry, Run
from leaderboard.stats import crossed, intervals, reliability, statistics, threshold
from leaderboard.stats.intervals import Difference, Spread
from leaderboard.stats.ranks import rank_sets
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

    `rank` counts within the budget; None with the reason in `unranked`. `score`, and what else is a mean over tasks,
    is NaN unless all tasks are there.
    """

    entry: Entry
    rank: int | None
    unranked: str
    score: Estimate
    grades: tuple[float, ...]  # mean over tasks
    seeds: int  # of the task that has the fewest
    rows: tuple[TaskRow, ...]
    beyond_chance: float  # the score, in each grade of each task as a share of what chance leaves; NaN if not known
    d50: float  # mean over tasks
    learned: Estimate  # share of seeds that learned at all, over all tasks
    ranks: tuple[int, int] | None = None  # the lowest and highest that may be its own, all rows' right together
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
    chance = _chance(results)
    ranking = [_rank_row(entry, rows, tasks, chance) for entry, rows in groups.items()]
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


def _chance(results: Sequence[TaskRow]) -> dict[tuple[str, str], np.ndarray]:
    """Success by grade of the best reference policy on each task and engine, and on `""`, any engine."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for row in (row for row in results if is_reference(row)):
        success = np.array([cell.success.value for cell in row.cells])
        for key in ((row.task, row.engine), (row.task, "")):
            found[key] = np.maximum(found.get(key, success), success)
    return found


def _beyond_chance(rows: Sequence[TaskRow], chance: Mapping[tuple[str, str], np.ndarray]) -> float:
    """Mean over tasks and grades, NaN where a task has no reference."""
    found: list[float] = []
    for row in rows:
        by_chance = chance.get((row.task, row.engine), chance.get((row.task, "")))
        if by_chance is None:
            return math.nan
        success = np.array([cell.success.value for cell in row.cells])
        found.append(float(threshold.beyond_chance(success, by_chance).mean()))
    return float(np.mean(found))


def _rank_row(
    entry: Entry, rows: Sequence[TaskRow], tasks: Sequence[str], chance: Mapping[tuple[str, str], np.ndarray]
) -> RankRow:
    seeds = min(len(row.runs) for row in rows)
    whole = not _missing(rows, tasks)
    by_seed = np.concatenate([success[:, 0] for success in rates(rows)])
    learned = Estimate(*reliability.learned(by_seed))
    unranked = ""
    if all(is_reference(row) for row in rows):
        unranked, learned = "reference", UNKNOWN
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
        score=_score(rows) if whole else UNKNOWN,
        grades=tuple(float(np.mean([row.cells[i].success.value for row in rows])) for i in range(len(GRADES))),
        seeds=seeds,
        rows=tuple(rows),
        beyond_chance=_beyond_chance(rows, chance) if whole else math.nan,
        d50=float(np.mean([row.d50.value for row in rows])) if whole else math.nan,
        learned=learned if seeds > 1 else Estimate(learned.value, math.nan, math.nan),
    )


def _numbered(rows: Sequence[RankRow]) -> list[RankRow]:
    """Ranks, where equal scores share one, and each row against the next, for the ranked rows of one budget."""
    values = [row.score.value for row in rows]
    pairs = list(pairwise(rows))
    differences = [_difference(a, b) for a, b in pairs]
    adjusted = holm([d.p for d in differences])
    versus = [_versus(a, b, replace(d, p=p)) for (a, b), d, p in zip(pairs, differences, adjusted, strict=True)]
    sets = _rank_sets(rows).tolist()
    return [
        replace(row, rank=values.index(row.score.value) + 1, versus=v, ranks=(low, high))
        for row, v, (low, high) in zip(rows, [*versus, None], sets, strict=True)
    ]


def _rank_sets(rows: Sequence[RankRow]) -> np.ndarray:
    """Lowest and highest rank [rows, 2] of the ranked rows of one budget, see `ranks.rank_sets`."""
    tasks = [row.task for row in rows[0].rows]
    cells = [[outcomes(row.by_task[task].runs, row.by_task[task].engine) for row in rows] for task in tasks]
    covariance = np.sum([crossed.item_covariance(entries) for entries in cells], axis=0) / len(tasks) ** 2
    np.fill_diagonal(covariance, [intervals.combine(own).variance for own in zip(*_spreads(cells), strict=True)])
    errors, df = np.zeros(covariance.shape), np.ones(covariance.shape)
    for i, j in combinations(range(len(rows)), 2):
        both = intervals.combine([crossed.difference_spread(entries[i], entries[j]) for entries in cells])
        errors[i, j] = errors[j, i] = np.sqrt(both.variance)
        df[i, j] = df[j, i] = both.df
    rng = generator("ranks", *(row.entry for row in rows))
    return rank_sets(np.array([row.score.value for row in rows]), covariance, errors, df, rng)


def _spreads(cells: Sequence[Sequence[crossed.Outcomes]]) -> list[list[Spread]]:
    return [[crossed.components(own).spread for own in entries] for entries in cells]


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
