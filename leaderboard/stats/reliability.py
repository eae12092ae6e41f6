"""Whether and when seeds learn: pure functions on arrays."""

from __future__ import annotations

import numpy as np
from scipy import stats

from suite.report.wilson import wilson_interval

LEARNED = 0.05
"""Success from which a seed counts as one that learned at all: at g1, or in training."""


def learned(success: np.ndarray) -> tuple[float, float, float]:
    """Share of seeds whose success [seeds] shows that they learned at all, with Wilson's interval over seeds.

    The limits of a single seed are NaN.
    """
    count, seeds = int((success >= LEARNED).sum()), len(success)
    if seeds == 1:
        return float(count), np.nan, np.nan
    low, high = wilson_interval(np.array(count), np.array(seeds))
    return count / seeds, float(low), float(high)


def first_success(env_steps: np.ndarray, success: np.ndarray) -> tuple[float, bool]:
    """Env steps until the training success of a curve [points] reaches `LEARNED`; else its last env step, and False."""
    reached = np.flatnonzero(np.nan_to_num(success) >= LEARNED)
    return (float(env_steps[reached[0]]), True) if len(reached) else (float(env_steps[-1]), False)


def quantile(times: np.ndarray, reached: np.ndarray, share: float = 0.5) -> float:
    """Env steps by which that share of seeds has had success, of times [seeds]; infinite if it never gets so far.

    By Kaplan and Meier (JASA 53, 1958): a seed that ended without success is censored, not left out.
    """
    data = stats.CensoredData(uncensored=times[reached], right=times[~reached])
    curve = stats.ecdf(data).cdf
    there = np.flatnonzero(curve.probabilities >= share - 1e-9)
    return float(curve.quantiles[there[0]]) if len(there) else np.inf
