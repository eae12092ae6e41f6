"""Are two evaluations of one policy the same? Exact tests on their episodes, and what "the same machine" means.

Under "the same policy and the same protocol" every p-value here is at most u with probability at most u, whatever
the success is: the tests are conditional and exact (Fisher 1922; Zelen 1971 for several strata), the correction for
many of them is Holm's (1979). So `refuted` is wrong with probability at most `alpha`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import gammaln
from scipy.stats import binom, ks_2samp

ALPHA = 0.001
"""Probability with which evaluations of the same policy are said to differ, over all cells together."""

STACK = ("packages", "python", "cpu", "cpu_features")


@dataclass(frozen=True)
class Cell:
    """One cell evaluated twice: successes and episodes of each, and the returns [n] of the episodes that have one."""

    name: str
    successes: tuple[int, int]
    episodes: tuple[int, int]
    returns: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Test:
    """One hypothesis: its p-value, and Holm's adjusted one, to be compared with alpha itself."""

    cell: str
    measure: str
    p: float
    adjusted: float


def different_stack(one: Mapping[str, Any], two: Mapping[str, Any], devices: Sequence[str]) -> str | None:
    """Why two provenances are not of machines that give the same bits, or None if they are.

    `devices` are those that the two evaluations ran on. Sums on a GPU have no fixed order, so only CPUs count.
    """
    if set(devices) != {one.get("cpu")}:
        return "not both ran on a CPU of one model"
    for key in STACK:
        if one.get(key) is None or one.get(key) != two.get(key):
            return f"{key} differs or is not known"
    return None


def first_difference(one: pa.Table, two: pa.Table) -> str | None:
    """Where two tables of episodes differ in a bit, or None where they do not."""
    if one.column_names != two.column_names:
        return f"the columns are {', '.join(one.column_names)} and {', '.join(two.column_names)}"
    if one.num_rows != two.num_rows:
        return f"{one.num_rows} and {two.num_rows} episodes"
    for name in one.column_names:
        a, b = (_bits(table[name]) for table in (one, two))
        if a.dtype != b.dtype:
            return f"column {name} has another type"
        if len(rows := (a != b).nonzero()[0]):
            values = (table[name][int(rows[0])].as_py() for table in (one, two))
            return f"{name} of row {rows[0]} is {' and '.join(map(repr, values))} ({len(rows)} rows differ)"
    return None


def _bits(column: pa.ChunkedArray) -> np.ndarray:
    values = column.to_numpy(zero_copy_only=False)
    return values.view(np.int64) if values.dtype == np.float64 else values


def tests(cells: Sequence[Cell]) -> list[Test]:
    """Success and returns of each cell, and success over all cells together, most suspicious first."""
    found = [(cell.name, "success", fisher(*cell.successes, *cell.episodes)) for cell in cells]
    found += [(cell.name, "return", _returns(*cell.returns)) for cell in cells]
    if len(cells) > 1:
        found.append(("all", "success", stratified([cell.successes for cell in cells], [c.episodes for c in cells])))
    adjusted = holm([p for _, _, p in found])
    return sorted((Test(*f, a) for f, a in zip(found, adjusted, strict=True)), key=lambda test: test.p)


def fisher(k1: int, k2: int, n1: int, n2: int) -> float:
    """Fisher's exact two-sided p-value for `k1` successes of `n1` and `k2` of `n2`."""
    low, pmf = _hypergeometric(k1 + k2, n1, n2)
    return min(1.0, float(pmf[pmf <= pmf[k1 - low] * (1 + 1e-7)].sum()))


def stratified(successes: Sequence[tuple[int, int]], episodes: Sequence[tuple[int, int]]) -> float:
    """Two-sided p-value of the sum of first successes over strata, given each stratum's margins.

    It sees a small difference that all cells have. The distribution is the convolution of the hypergeometric ones.
    """
    start, total = 0, np.ones(1)
    for (k1, k2), (n1, n2) in zip(successes, episodes, strict=True):
        low, pmf = _hypergeometric(k1 + k2, n1, n2)
        start, total = start + low, np.convolve(total, pmf)
    at = sum(k1 for k1, _ in successes) - start
    return min(1.0, 2 * float(min(total[: at + 1].sum(), total[at:].sum())))


def _hypergeometric(successes: int, n1: int, n2: int) -> tuple[int, np.ndarray]:
    """Smallest possible number of successes among the first `n1`, and the probabilities from there on."""
    low, high = max(0, successes - n2), min(n1, successes)
    k = np.arange(low, high + 1)
    log = _log_choose(n1, k) + _log_choose(n2, successes - k)
    pmf = np.exp(log - log.max())
    return low, pmf / pmf.sum()


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _returns(one: np.ndarray, two: np.ndarray) -> float:
    """Kolmogorov and Smirnov's two-sample p-value, exact up to 10 000 episodes; ties make it larger, never smaller."""
    if not len(one) or not len(two):
        return 1.0
    return float(ks_2samp(one, two).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of `p_values`."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()


def power(rate1: float, rate2: float, n1: int, n2: int, alpha: float) -> float:
    """Probability that Fisher's test at level `alpha` tells the two true rates apart."""
    rejected = _p_values(n1, n2) <= alpha
    return float(binom.pmf(np.arange(n1 + 1), n1, rate1) @ rejected @ binom.pmf(np.arange(n2 + 1), n2, rate2))


def detectable(n1: int, n2: int, alpha: float, wanted: float = 0.9) -> float:
    """Smallest drop from a claimed success of 1/2 + d/2 to 1/2 - d/2 that is found with probability `wanted`.

    Around 1/2 differences are hardest to see, so any drop of this size is found at least about as often.
    """
    for percent in range(1, 101):
        drop = percent / 100
        if power((1 + drop) / 2, (1 - drop) / 2, n1, n2, alpha) >= wanted:
            return drop
    return 1.0


@cache
def _p_values(n1: int, n2: int) -> np.ndarray:
    """Fisher's p-value [n1 + 1, n2 + 1] of every outcome."""
    table = np.empty((n1 + 1, n2 + 1))
    for successes in range(n1 + n2 + 1):
        low, pmf = _hypergeometric(successes, n1, n2)
        order = np.argsort(pmf, kind="stable")
        cumulated = pmf[order].cumsum()
        last = np.searchsorted(pmf[order], pmf * (1 + 1e-7), side="right") - 1
        k1 = np.arange(low, low + len(pmf))
        table[k1, successes - k1] = np.minimum(cumulated[last], 1.0)
    return table
