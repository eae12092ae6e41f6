"""Wilson's interval of a success probability: a pure function on arrays."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

CONFIDENCE = 0.95


def wilson_interval(
    successes: np.ndarray, episodes: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits for success probabilities, element by element (Wilson, JASA 22, 1927).

    Both arrays have the same shape; raises `ValueError` unless 0 <= successes <= episodes and episodes > 0.
    """
    k, n = np.asarray(successes, float), np.asarray(episodes, float)
    if np.any(n <= 0) or np.any(k < 0) or np.any(k > n):
        raise ValueError("successes have to be between 0 and episodes, and episodes above 0")
    return score_interval(k / n, n, ndtri(0.5 + confidence / 2))


def score_interval(p: np.ndarray, n: np.ndarray, quantile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's limits for rates p of n trials, at that many standard deviations."""
    scale = 1 / (1 + quantile**2 / n)
    centre = scale * (p + quantile**2 / (2 * n))
    half = scale * quantile * np.sqrt(p * (1 - p) / n + quantile**2 / (4 * n**2))
    low = np.where(p == 0, 0.0, centre - half)  # exact at the ends, where rounding would leave 1e-17
    high = np.where(p == 1, 1.0, centre + half)
    return low, high
