"""Learning curves of a run: of its training, and by grade from the policies of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.data import parquet
from suite.untrusted import Unusable
from tasks.spec import GRADES

POINTS = 80


@dataclass(frozen=True)
class TrainingCurve:
    """Success of the episodes seen in training, in `POINTS` equal bins of env steps; arrays [POINTS].

    `env_steps` is the end of each bin, `success` the mean of its iterations, NaN where no episode ended in it. Bins put
    seeds on common steps and keep the page small.
    """

    env_steps: np.ndarray
    success: np.ndarray


@dataclass(frozen=True)
class GradeCurve:
    """`curve.parquet` of a run; arrays [P], and success [P, 5]."""

    steps: np.ndarray
    seconds: np.ndarray  # of training, the teacher's included
    teacher_seconds: np.ndarray
    success: np.ndarray


def read_by_grade(path: Path, result: Mapping[str, Any]) -> GradeCurve:
    """The curve in `path`, of the run `result`. Raises `Unusable` unless it has a point for every grade."""
    numbers = ("env_steps", "wall_time_s", "teacher_time_s", "success")
    table = parquet.read(path, result, "curve_sha256", (*numbers, "grade"))
    names, codes = parquet.texts(path, table, "grade")
    points = len(codes) // len(GRADES)
    if points < 2 or [names[code] for code in codes] != list(GRADES) * points:
        raise Unusable(f"{path.name} has not one row for each of g1 to g5 at two points or more")
    steps, seconds, teacher, success = (parquet.floats(path, table, name).reshape(points, -1) for name in numbers)
    return GradeCurve(steps[:, 0], seconds[:, 0], teacher[:, 0], success)


def read_training(path: Path, result: Mapping[str, Any]) -> TrainingCurve:
    """The learning curve in `path`, of the run `result`. Raises `Unusable`."""
    table = parquet.read(path, result, "progress_sha256", ("env_steps", "success_mean"))
    steps, success = (parquet.floats(path, table, name) for name in ("env_steps", "success_mean"))
    if not len(steps):
        raise Unusable(f"{path.name} has no rows")
    with np.errstate(invalid="ignore"):
        if not np.isfinite(steps).all() or (np.diff(steps) < 0).any() or ((success < 0) | (success > 1)).any():
            raise Unusable(f"{path.name} has a success or a number of env steps out of range")
    ends = np.linspace(0, steps[-1], POINTS + 1)
    known = np.isfinite(success)
    index = np.clip(np.searchsorted(ends, steps[known], side="left") - 1, 0, POINTS - 1)
    count = np.bincount(index, minlength=POINTS)
    total = np.bincount(index, success[known], minlength=POINTS)
    return TrainingCurve(ends[1:], np.where(count, total / np.maximum(count, 1), np.nan))
