"""Rows of the board: one entry on one task, with what is counted from its runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.data.evaluations import Evaluation
from leaderboard.data.runs import Entry, Run
from leaderboard.stats import crossed
from leaderboard.stats.crossed import Outcomes
from leaderboard.stats.statistics import Strata
from tasks.spec import GRADES


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; limits are NaN where none is known, as with a single seed."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)
"""Stands where there is nothing to estimate."""


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
    d50: Estimate  # difficulty at which success is one half, from 0 (g1) to 1 (g5)
    learned: Estimate  # share of seeds that learned at all; NaN for what was not trained
    first_success: float  # env steps by which half of the seeds had any, infinite if they never had; NaN if not known


@dataclass(frozen=True)
class EngineRow:
    """One entry on one task, evaluated on an engine other than its own, beside the same seeds on its own."""

    own: TaskRow
    other: TaskRow

    @property
    def change(self) -> float:
        """Mean success on the other engine minus that on its own."""
        return self.other.mean.value - self.own.mean.value


def is_reference(row: TaskRow) -> bool:
    """True for policies that were not trained, such as `random` and `zero`."""
    return untrained(row.runs)


def untrained(runs: Sequence[Run]) -> bool:
    """True where no run trained its policy."""
    return all(run.result["env_steps"] == 0 for run in runs)


def evaluation_on(run: Run, engine: str) -> Evaluation | None:
    """The run's evaluation on `engine`, or None."""
    return next((e for e in (run.evaluation, *run.others) if e.engine == engine), None)


def evaluation(run: Run, engine: str) -> Evaluation:
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
    evaluations = [evaluation(run, engine) for run in runs]
    return np.stack([e.successes for e in evaluations]), np.stack([e.episodes for e in evaluations])


def outcomes(runs: Sequence[Run], engine: str) -> Outcomes:
    """Success of the runs by env [seeds, items] in each nominal cell, easiest first; see `crossed`."""
    evaluations = [evaluation(run, engine).cells for run in runs]
    cells = [[e.items[e.names.index(f"nominal/{grade}")] for e in evaluations] for grade in GRADES]
    return [crossed.outcomes(items) for items in cells]


def rates(rows: Sequence[TaskRow]) -> Strata:
    """Success [seeds, grades] of each row."""
    return [k / n for k, n in (counts(row.runs, row.engine) for row in rows)]


def estimate(value: float | np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> Estimate:
    """An estimate of a share; rounding may put a limit 1e-16 on the wrong side of it. Limits may be NaN."""
    value, low, high = float(value), float(low), float(high)
    if math.isnan(low):
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, max(0.0, min(low, value)), min(1.0, max(high, value)))
