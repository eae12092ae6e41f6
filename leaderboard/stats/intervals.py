"""Intervals and tests at 95 %: pure functions on arrays, random draws only from the generator that is passed in.

`leaderboard/stats/crossed.py` has the spread of success over seeds and start states; `docs/leaderboard.md` has the
measured coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from leaderboard.stats.statistics import Strata, improvements
from suite.report.wilson import CONFIDENCE, score_interval

SIGNIFICANT = 0.05
RESAMPLES = 1000


@dataclass(frozen=True)
class Spread:
    """Variance of a mean and its degrees of freedom; arrays of one shape, NaN where nothing is known of it."""

    variance: np.ndarray
    df: np.ndarray

    @property
    def quantile(self) -> np.ndarray:
        """How many standard deviations the interval reaches."""
        return student(self.df)


def student(df: np.ndarray | float) -> np.ndarray:
    """Student's 97.5 % quantile; the normal one where no variance had to be estimated."""
    return stdtrit(np.minimum(df, 1e9), 0.5 + CONFIDENCE / 2)


def combine(spreads: Sequence[Spread]) -> Spread:
    """Spread of the mean of independent means, with Satterthwaite's degrees of freedom."""
    variances = np.stack([s.variance for s in spreads])
    df = np.stack([s.df for s in spreads])
    total = variances.sum(axis=0)
    n = len(spreads)
    estimated = (variances**2 / df).sum(axis=0)  # 0 where no variance had to be estimated
    freedom = np.where(estimated > 0, total**2 / np.where(estimated > 0, estimated, 1), np.inf)
    return Spread(total / n**2, freedom)


def spread_interval(rate: np.ndarray, trials: np.ndarray, spread: Spread) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a mean `rate`, with as many effective episodes as its `spread` leaves.

    Rates of exactly 0 and 1 say nothing of the spread: all `trials` count then.
    """
    inside = (rate > 0) & (rate < 1) & ~(spread.variance == 0)
    effective = np.where(inside, rate * (1 - rate) / np.where(inside, spread.variance, 1), trials)
    return score_interval(rate, effective, np.where(inside, spread.quantile, ndtri(0.5 + CONFIDENCE / 2)))


def resample_seeds(values: Strata, rng: np.random.Generator, resamples: int = RESAMPLES) -> list[np.ndarray]:
    """Stratified bootstrap of arrays [seeds, ...] that are no counts: [resamples, seeds, ...]."""
    return [v[rng.integers(len(v), size=(resamples, len(v)))] for v in values]


def bootstrap_interval(point: float, draws: np.ndarray, wider: float) -> tuple[float, float]:
    """Percentile interval of a statistic from its bootstrap `draws`, its distances from the estimate stretched."""
    low, high = np.quantile(draws.astype(float), (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
    return float(point - wider * max(point - low, 0.0)), float(point + wider * max(high - point, 0.0))


def stretch(spread: Spread, draws: np.ndarray) -> float:
    """How much wider than its bootstrap `draws` the interval of a mean has to be whose spread is known.

    Resampling few seeds shows too little of the variance and normal quantiles are too near at few degrees of freedom
    (the "narrowness bias" of Hesterberg, The American Statistician 69, 2015); resampling seeds and items shows the rest
    twice (Owen, 2007). What this comes to for the mean is taken for other statistics of the same draws. Bounded, since
    equal seeds would ask for any width.
    """
    drawn = float(draws.var())
    if not drawn:
        return 1.0
    ratio = np.sqrt(float(spread.variance) / drawn)
    return float(np.clip(ratio, 1 / 3, 3) * spread.quantile / ndtri(0.5 + CONFIDENCE / 2))


def improvement_interval(
    x: Strata, y: Strata, rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Bootstrap interval of the probability of improvement: seeds of both sides are drawn within each stratum."""
    total = np.zeros(resamples)
    wins = [improvements(a, b) for a, b in zip(x, y, strict=True)]
    for won in wins:
        drawn_x = rng.integers(won.shape[0], size=(resamples, won.shape[0], 1))
        drawn_y = rng.integers(won.shape[1], size=(resamples, 1, won.shape[1]))
        total += won[drawn_x, drawn_y].mean(axis=(1, 2))
    low, high = np.quantile(total / len(wins), (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """Mean of x minus mean of y, its interval, and the two-sided p-value of there being none."""

    value: float
    low: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """True where the seeds that were drawn do not explain the difference."""
        return self.p < SIGNIFICANT


def difference(value: float, spread: Spread) -> Difference:
    """Student's test of a difference of two means against none; its limits and p are NaN where its spread is."""
    error = float(np.sqrt(spread.variance))
    if np.isnan(error):
        return Difference(value, np.nan, np.nan, np.nan)
    if not error:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    df = float(spread.df)
    tail = stdtr(df, -abs(value) / error) if np.isfinite(df) else ndtr(-abs(value) / error)
    half = float(spread.quantile) * error
    return Difference(value, value - half, value + half, float(2 * tail))
