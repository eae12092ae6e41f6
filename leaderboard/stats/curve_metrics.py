"""What a learning curve by grade says about a curriculum: pure functions on arrays.

A curve is `steps` [P], increasing and starting at 0, and `success` [P, G] of the policy at each of them on each grade,
easiest first. Overall success is the mean over grades. Jump-start, asymptote, time to threshold and area are as in
Taylor and Stone, "Transfer learning for reinforcement learning domains", JMLR 10, 2009.
"""

from __future__ import annotations

import numpy as np

EARLY = 0.1
"""Share of the training after which the jump-start is read: at 0 all teachers have the same untrained policy."""

LATE = 0.25
"""Share of the training, its last, over which the asymptote is averaged."""


def to_threshold(x: np.ndarray, success: np.ndarray, threshold: float) -> float:
    """The first `x` [P] (env steps, or seconds) at which overall success reaches `threshold`, NaN if it never does.

    Between two points of the curve it is interpolated.
    """
    y = success.mean(axis=1)
    reached = np.flatnonzero(y >= threshold)
    if not len(reached):
        return float("nan")
    i = reached[0]
    if i == 0:
        return float(x[0])
    return float(x[i - 1] + (threshold - y[i - 1]) / (y[i] - y[i - 1]) * (x[i] - x[i - 1]))


def jump_start(steps: np.ndarray, success: np.ndarray) -> float:
    """Overall success after the first `EARLY` of the training."""
    return float(np.interp(EARLY * steps[-1], steps, success.mean(axis=1)))


def asymptote(steps: np.ndarray, success: np.ndarray) -> float:
    """Mean overall success over the points in the last `LATE` of the training."""
    return float(success[steps >= (1 - LATE) * steps[-1]].mean())


def area(steps: np.ndarray, success: np.ndarray) -> float:
    """Area under overall success, by the trapezoidal rule, as a share of what a perfect agent would have."""
    return float(np.trapezoid(success.mean(axis=1), steps) / (steps[-1] - steps[0]))


def forgetting(success: np.ndarray, grades: slice = slice(0, 2)) -> float:
    """By how much success at the lower `grades` ended below the best it had been, averaged over them."""
    lower = success[:, grades]
    return float((lower.max(axis=0) - lower[-1]).mean())


def transfer(success: np.ndarray, grades: slice = slice(3, 5)) -> float:
    """Success at the end at the higher `grades`, averaged over them."""
    return float(success[-1, grades].mean())
