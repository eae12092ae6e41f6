"""Statistics of success counts: pure functions on arrays, random draws only from the generator that is passed in.

A *stratum* is one task: integer arrays `successes` and `episodes` of shape [seeds, grades]. Strata may differ in
their number of seeds. A statistic maps a list of score arrays [..., seeds, grades] to [...], so the same function
gives the point estimate and its value on every bootstrap resample.

`docs/leaderboard.md` says which interval is used where, and how often it covers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtri

CONFIDENCE = 0.95
RESAMPLES = 2000

Strata = Sequence[np.ndarray]
Statistic = Callable[[Strata], np.ndarray]


def wilson_interval(
    successes: np.ndarray, episodes: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits for success probabilities, element by element (Wilson, JASA 22, 1927).

    Both arrays have the same shape; raises `ValueError` unless 0 <= successes <= episodes and episodes > 0.
    """
    k, n = np.asarray(successes, float), np.asarray(episodes, float)
    if np.any(n <= 0) or np.any(k < 0) or np.any(k > n):
        raise ValueError("successes have to be between 0 and episodes, and episodes above 0")
    z = ndtri(0.5 + confidence / 2)
    p = k / n
    scale = 1 / (1 + z**2 / n)
    centre = scale * (p + z**2 / (2 * n))
    half = scale * z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low = np.where(k == 0, 0.0, centre - half)  # exact at the ends, where rounding would leave 1e-17
    high = np.where(k == n, 1.0, centre + half)
    return low, high


def mean(scores: Strata) -> np.ndarray:
    """Mean over strata of the mean over seeds and grades: every task counts the same."""
    return np.mean([np.mean(s, axis=(-2, -1)) for s in scores], axis=0)


def iqm(scores: Strata) -> np.ndarray:
    """Interquartile mean of all runs and grades pooled: the mean of the middle half (Agarwal et al., 2021).

    Drops floor(n / 4) values at each end, as `scipy.stats.trim_mean(scores, 0.25)` does.
    """
    pooled = np.sort(np.concatenate([s.reshape(*s.shape[:-2], -1) for s in scores], axis=-1), axis=-1)
    cut = pooled.shape[-1] // 4
    return pooled[..., cut : pooled.shape[-1] - cut].mean(axis=-1)


def optimality_gap(scores: Strata, target: float = 1.0) -> np.ndarray:
    """Mean shortfall from `target`; what lies above the target earns nothing (Agarwal et al., 2021)."""
    return target - mean([np.minimum(s, target) for s in scores])


def bootstrap_interval(
    successes: Strata,
    episodes: Strata,
    statistic: Statistic,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile interval of `statistic`: in each stratum resample seeds, then the episodes of each seed and grade.

    A resampled set of n successes and failures has a binomial count of successes, so counts are all that is drawn.
    """
    resampled = []
    for k, n in zip(successes, episodes, strict=True):
        seeds = rng.integers(len(k), size=(resamples, len(k)))
        resampled.append(rng.binomial(n[seeds], (k / n)[seeds]) / n[seeds])
    low, high = np.quantile(statistic(resampled), (0.5 - confidence / 2, 0.5 + confidence / 2))
    return float(low), float(high)


def episode_interval(successes: Strata, episodes: Strata, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of `mean` for these very runs, from their episodes alone.

    One cell gives its Wilson interval. Several are combined by square-and-add (Zou and Donner, Statistics in
    Medicine 27, 2008): each limit's squared distances from the estimates add up with the squared weights.
    """
    point, below, above = 0.0, 0.0, 0.0
    for k, n in zip(successes, episodes, strict=True):
        weight = 1 / (len(successes) * k.shape[-1])
        k, n = k.sum(axis=0), n.sum(axis=0)
        low, high = wilson_interval(k, n, confidence)
        point += float(np.sum(weight * k / n))
        below += float(np.sum((weight * (k / n - low)) ** 2))
        above += float(np.sum((weight * (high - k / n)) ** 2))
    return max(0.0, point - below**0.5), min(1.0, point + above**0.5)


def mean_interval(successes: Strata, episodes: Strata, rng: np.random.Generator) -> tuple[float, float]:
    """Interval of `mean`: from episodes where there is one seed, else bootstrapped over seeds and episodes.

    Seeds can only add to the uncertainty of the episodes. So the bootstrap's interval is widened to
    `episode_interval` where it is narrower, as when every episode of every seed succeeded.
    """
    low, high = episode_interval(successes, episodes)
    if all(len(k) == 1 for k in successes):
        return low, high
    boot_low, boot_high = bootstrap_interval(successes, episodes, mean, rng)
    return min(low, boot_low), max(high, boot_high)
