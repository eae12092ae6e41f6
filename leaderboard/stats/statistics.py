"""Point statistics of scores: pure functions on arrays. `leaderboard/stats/intervals.py` has their intervals.

*Strata* are a list of arrays [..., seeds, grades], one a task; tasks may differ in their number of seeds. A statistic
maps strata to [...], so the same function gives the estimate and its value on every bootstrap resample.

Performance profiles and probability of improvement are as in Agarwal et al., "Deep Reinforcement
Learning at the Edge of the Statistical Precipice" (2021), where each grade of each task stands for one of their tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Strata = Sequence[np.ndarray]
Statistic = Callable[[Strata], np.ndarray]


def mean(scores: Strata) -> np.ndarray:
    """Mean over strata of the mean over seeds and grades: every task counts the same."""
    return np.mean([np.mean(s, axis=(-2, -1)) for s in scores], axis=0)


def cvar(values: np.ndarray, fraction: float = 0.1) -> np.ndarray:
    """Conditional value at risk of `values` [..., n]: the mean of the worst (lowest) `fraction` of them.

    Where fraction · n is not whole, the last value counts in part (Rockafellar and Uryasev, 2000). Raises `ValueError`
    unless 0 < fraction <= 1 and there are values.
    """
    values = np.sort(np.asarray(values, float), axis=-1)
    n = values.shape[-1]
    if not 0 < fraction <= 1 or not n:
        raise ValueError("CVaR needs at least one value and a fraction above 0 and up to 1")
    weights: np.ndarray = np.clip(fraction * n - np.arange(n), 0, 1)
    return values @ weights / weights.sum()


def performance_profile(scores: Strata, thresholds: np.ndarray) -> np.ndarray:
    """Share of runs and grades above each threshold [t], mean over strata: [..., t]."""
    above = [np.mean(s[..., None] > thresholds, axis=(-3, -2)) for s in scores]
    return np.mean(above, axis=0)


def sample_efficiency(curves: Strata) -> np.ndarray:
    """Mean over tasks of curves [..., seeds, points], one array a task, at each point of their common grid."""
    return np.mean([curve.mean(axis=-2) for curve in curves], axis=0)


def improvements(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of scores x [seeds_x, grades] and y [seeds_y, grades]: which pairs x wins, [seeds_x, seeds_y].

    1 for x > y and 1/2 for a tie, mean over grades.
    """
    x, y = x[:, None, :], y[None, :, :]
    return np.mean((x > y) + 0.5 * (x == y), axis=-1)


def probability_of_improvement(x: Strata, y: Strata) -> float:
    """Probability that a run of x beats a run of y on a task and grade, mean over both (Mann-Whitney's U / nm)."""
    return float(np.mean([improvements(a, b).mean() for a, b in zip(x, y, strict=True)]))
