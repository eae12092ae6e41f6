"""Ranks with simultaneous confidence: pure functions on arrays.

A rank set holds all ranks that the differences between scores leave open. The sets of all entries are right together
with a probability of 95 %: every difference is compared with what the largest of all of them reaches by chance
(Mogstad, Romano, Shaikh and Wilhelm, "Inference for ranks", Review of Economic Studies 91, 2024).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, stdtrit

from suite.report.wilson import CONFIDENCE

DRAWS = 10_000


def rank_sets(
    scores: np.ndarray, covariance: np.ndarray, errors: np.ndarray, df: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Lowest and highest rank [entries, 2] of `scores` [entries], where 1 is the best.

    `covariance` [entries, entries] is that of the scores, which share start states; `errors` and `df` are standard
    errors and degrees of freedom of their pairwise differences. The largest standardised difference is drawn from the
    normal distribution; its level is carried over to Student's distribution of each pair.
    """
    count = len(scores)
    if count < 2:
        return np.ones((count, 2), int)
    drawn = rng.multivariate_normal(np.zeros(count), covariance, DRAWS, method="eigh")
    first, second = np.triu_indices(count, 1)
    drawn_error = np.sqrt(np.maximum(np.diag(covariance)[first] + np.diag(covariance)[second], 0.0))
    drawn_error = np.sqrt(np.maximum(drawn_error**2 - 2 * covariance[first, second], 1e-30))
    largest = np.max(np.abs(drawn[:, first] - drawn[:, second]) / drawn_error, axis=1)
    level = ndtr(np.quantile(largest, CONFIDENCE))  # one-sided
    above = scores[:, None] - scores[None, :] > stdtrit(np.minimum(df, 1e9), level) * errors  # row is above column
    np.fill_diagonal(above, False)
    return np.stack([1 + above.sum(axis=0), count - above.sum(axis=1)], axis=1)
