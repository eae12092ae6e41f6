"""Threshold difficulty and success beyond chance: pure functions on arrays."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, xlogy

from leaderboard.stats import crossed
from leaderboard.stats.crossed import Outcomes

PRIOR = 0.5  # successes and failures added at each difficulty, so that a step has a finite slope


def d50(cells: Outcomes, difficulties: np.ndarray) -> tuple[float, float, float]:
    """Difficulty at which success is one half, and its interval, all within [0, 1].

    By a logistic fit of mean success in `cells` on `difficulties` [cells]. 0 where success is below one half at every
    difficulty of the ladder, 1 where it is above. To first order the threshold is a weighted sum of the cells' success,
    so its spread is that of `crossed.components`; NaN limits with a single seed.
    """
    items = np.array([y.shape[-2] * y.shape[-1] for y in cells], float)
    rates = (np.array([y.mean() for y in cells]) * items + PRIOR) / (items + 2 * PRIOR)
    x = np.stack([np.ones(len(cells)), np.asarray(difficulties, float)], axis=1)

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        fitted = np.clip(expit(x @ beta), 1e-12, 1 - 1e-12)
        return -float((xlogy(rates, fitted) + xlogy(1 - rates, 1 - fitted)).sum()), x.T @ (fitted - rates)

    level, slope = minimize(loss, np.array([1.0, -2.0]), jac=True, method="BFGS").x
    if slope >= 0:  # success does not fall with difficulty: no threshold within the ladder
        point = float(rates.mean() > 0.5)
        return point, np.nan, np.nan
    fitted = expit(x @ np.array([level, slope]))
    information = (x * (fitted * (1 - fitted))[:, None]).T @ x
    gradient = np.array([-1 / slope, level / slope**2])
    weights = gradient @ np.linalg.pinv(information) @ x.T
    spread = crossed.components(cells, weights).spread
    half = float(spread.quantile * np.sqrt(spread.variance))
    point = -level / slope
    low, high = (float(np.clip(v, 0, 1)) for v in (point - half, point + half))
    return float(np.clip(point, 0, 1)), low, high


def beyond_chance(success: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Success as a share of what chance leaves: 0 at chance, 1 where all succeed, below 0 under chance (Cohen's kappa).

    NaN where chance always succeeds.
    """
    left = 1 - np.asarray(chance, float)
    return np.divide(success - np.asarray(chance), left, out=np.full_like(left, np.nan), where=left > 0)
