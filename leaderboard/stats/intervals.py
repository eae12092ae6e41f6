"""Intervals and tests at 95 %: pure functions on arrays, random draws only from the generator that is passed in.

A stratum is one task: integer arrays `successes` and `episodes` of shape [seeds, grades]. What varies is the seed
(another training) and, within it, the episode. Observed success of a seed holds both, so its variance between seeds
is all that is needed where there are several; the episodes alone tell what is the least it can be.

`docs/leaderboard.md` has the measured coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from leaderboard.stats.statistics import Strata, improvements
from suite.report.wilson import CONFIDENCE, score_interval, wilson_interval

SIGNIFICANT = 0.05
RESAMPLES = 1000


@dataclass(frozen=True)
class Spread:
    """Variance of a mean over seeds and its degrees of freedom; arrays of one shape.

    `plain` is what resampling n seeds out of n shows of `variance`: it is (n - 1) / n of it.
    """

    variance: np.ndarray
    plain: np.ndarray
    df: np.ndarray

    @property
    def quantile(self) -> np.ndarray:
        """How many standard deviations the interval reaches."""
        return student(self.df)


def student(df: np.ndarray | float) -> np.ndarray:
    """Student's 97.5 % quantile; the normal one where no variance had to be estimated."""
    return stdtrit(np.minimum(df, 1e9), 0.5 + CONFIDENCE / 2)


def seed_spread(successes: np.ndarray, episodes: np.ndarray, axis: int | None = None) -> Spread:
    """Spread of mean success over seeds [..., seeds, grades]: by grade, or of the mean over grades with `axis=-1`.

    The variance between seeds counts with seeds - 1 degrees of freedom. Where it is below what the episodes explain
    alone, and for a single seed, the episodes' variance (one success and one failure added) counts as known.
    """
    rates = successes / episodes
    seeds, grades = rates.shape[-2:]
    pooled = (successes.sum(axis=-2) + 1) / (episodes.sum(axis=-2) + 2)
    within = pooled * (1 - pooled) * np.mean(1 / episodes, axis=-2) / seeds
    if axis == -1:
        rates, within = rates.mean(axis=-1, keepdims=True), within.sum(axis=-1, keepdims=True) / grades**2
    between = rates.var(axis=-2, ddof=1) / seeds if seeds > 1 else np.zeros_like(within)
    shown = between > within
    variance = np.where(shown, between, within)
    spread = Spread(variance, between * (seeds - 1) / seeds, np.where(shown, max(seeds - 1, 1), np.inf))
    return spread if axis is None else Spread(*(a[..., 0] for a in (spread.variance, spread.plain, spread.df)))


def combine(spreads: Sequence[Spread]) -> Spread:
    """Spread of the mean of independent means, with Satterthwaite's degrees of freedom."""
    variances = np.stack([s.variance for s in spreads])
    df = np.stack([s.df for s in spreads])
    total = variances.sum(axis=0)
    n = len(spreads)
    estimated = (variances**2 / df).sum(axis=0)  # 0 where no variance had to be estimated
    freedom = np.where(estimated > 0, total**2 / np.where(estimated > 0, estimated, 1), np.inf)
    return Spread(total / n**2, np.sum([s.plain for s in spreads], axis=0) / n**2, freedom)


def success_interval(successes: np.ndarray, episodes: np.ndarray, axis: int | None = None) -> tuple[np.ndarray, ...]:
    """Interval of mean success over seeds [..., seeds, grades]: by grade, or of the mean over grades with `axis=-1`.

    Wilson's interval with the effective number of episodes, and Student's quantile where seeds differ (as for
    clustered samples: Dean and Pagano, J. Survey Stat. Methodol. 3, 2015). With one seed and no axis it is Wilson's.
    """
    spread = seed_spread(successes, episodes, axis)
    rates = (successes / episodes).mean(axis=-2)
    trials = episodes.sum(axis=-2)
    if axis == -1:
        rates, trials = rates.mean(axis=-1), trials.sum(axis=-1)
    elif successes.shape[-2] == 1:
        return wilson_interval(successes[..., 0, :], episodes[..., 0, :])
    return spread_interval(rates, trials, spread)


def spread_interval(rate: np.ndarray, trials: np.ndarray, spread: Spread) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a mean `rate` out of `trials` episodes, with as many effective episodes as `spread` leaves.

    Rates of exactly 0 and 1 say nothing of the spread: all episodes count then.
    """
    inside = (rate > 0) & (rate < 1)
    effective = np.where(inside, rate * (1 - rate) / np.where(inside, spread.variance, 1), trials)
    return score_interval(rate, effective, np.where(inside, spread.quantile, ndtri(0.5 + CONFIDENCE / 2)))


def resample(
    successes: Strata, episodes: Strata, rng: np.random.Generator, resamples: int = RESAMPLES
) -> list[np.ndarray]:
    """Stratified bootstrap: in each stratum draw seeds with replacement; [resamples, seeds, grades] rates.

    A single seed cannot be resampled: its episodes are, which gives binomial counts.
    """
    drawn: list[np.ndarray] = []
    for k, n in zip(successes, episodes, strict=True):
        if len(k) == 1:
            rates = resample_episodes(k[0], n[0], rng, resamples)[:, None]
        else:
            rates = (k / n)[rng.integers(len(k), size=(resamples, len(k)))]
        drawn.append(rates.astype(np.float32))  # sorting 32 bits is several times faster, and 1e-7 is no matter here
    return drawn


def resample_episodes(
    successes: np.ndarray, episodes: np.ndarray, rng: np.random.Generator, resamples: int
) -> np.ndarray:
    """Bootstrap of the episodes behind counts [n]: success rates [resamples, n]."""
    k, n = successes[:, None], episodes[:, None]
    # All draws of one probability in a row, which numpy prepares once.
    return (rng.binomial(n, k / n, (len(k), resamples)) / n).T


def resample_seeds(values: Strata, rng: np.random.Generator, resamples: int = RESAMPLES) -> list[np.ndarray]:
    """Stratified bootstrap of arrays [seeds, ...] that are no counts: [resamples, seeds, ...]."""
    return [v[rng.integers(len(v), size=(resamples, len(v)))] for v in values]


def bootstrap_interval(point: float, draws: np.ndarray, spread: Spread) -> tuple[float, float]:
    """Percentile interval of a statistic from its bootstrap `draws`, made as wide as few seeds ask for.

    Resampling n seeds shows only (n - 1) / n of a mean's variance, and normal quantiles are too near at few degrees of
    freedom: the distances of the percentiles from the estimate are stretched by what that comes to for the mean
    (the "narrowness bias" of Hesterberg, The American Statistician 69, 2015).
    """
    low, high = np.quantile(draws.astype(float), (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
    stretch = _stretch(spread)
    return float(point - stretch * max(point - low, 0.0)), float(point + stretch * max(high - point, 0.0))


def _stretch(spread: Spread) -> float:
    # 1 where no seed was resampled; bounded, since equal seeds would ask for any width
    if not spread.plain:
        return 1.0
    narrow = np.sqrt(max(float(spread.variance / spread.plain), 1.0))
    return float(min(narrow, 3.0) * spread.quantile / ndtri(0.5 + CONFIDENCE / 2))


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


def difference(x: float, y: float, spread_x: Spread, spread_y: Spread) -> Difference:
    """Welch's test of two means that come from different seeds; on one task and grade it is scipy's `ttest_ind`."""
    both = combine([spread_x, spread_y])
    error = float(np.sqrt(4 * both.variance))  # combine() is of a mean of two, a difference has no half
    value = x - y
    if not error:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    df = float(both.df)
    tail = stdtr(df, -abs(value) / error) if np.isfinite(df) else ndtr(-abs(value) / error)
    half = float(both.quantile) * error
    return Difference(value, value - half, value + half, float(2 * tail))
