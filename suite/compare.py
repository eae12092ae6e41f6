"""Are two evaluations of one policy the same? Exact tests on their episodes, and what "the same machine" means.

Episodes are paired: episode k of env i has the same task, cell and factors both times. Were both evaluated with one
policy, each pair could as well have come the other way round, whatever is drawn and however rounding ends. So of the
pairs that differ, one direction has as many as fair coins give: the sign test (for success McNemar's, 1947), which is
exact. The correction for many tests is Holm's (1979). So a true claim is refuted with probability at most `ALPHA`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import binom

import tasks

ALPHA = 0.001
"""Probability with which evaluations of the same policy are said to differ, over all cells together."""

STACK = ("packages", "python", "os", "cpu", "cpu_features", "cores")
"""Keys of a provenance that can decide last bits: the system has its own maths library, engines split work by cores."""


@dataclass(frozen=True)
class Cell:
    """One cell evaluated twice: success [n] and return [n], NaN where an episode has none, of each evaluation."""

    name: str
    success: tuple[np.ndarray, np.ndarray]
    returns: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Test:
    """One hypothesis: its p-value, and Holm's adjusted one, to be compared with alpha itself."""

    cell: str
    measure: str
    p: float
    adjusted: float


def why_not_bitwise(
    task: str, engine: str, one: Mapping[str, Any], two: Mapping[str, Any], devices: Sequence[str]
) -> str | None:
    """Why a repetition may differ in its bits, or None where it must not: see `TaskSpec.inexact`, `different_stack`."""
    return tasks.get(task).inexact.get(engine) or different_stack(one, two, devices)


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
    """Success and return in each cell, and success over all of them, which sees what is small but everywhere.

    Most suspicious first.
    """
    found = [(cell.name, "success", sign_test(*cell.success)) for cell in cells]
    found += [(cell.name, "return", sign_test(*cell.returns)) for cell in cells]
    if len(cells) > 1:
        together = (np.concatenate([cell.success[i] for cell in cells]) for i in range(2))
        found.append(("all cells", "success", sign_test(*together)))
    adjusted = holm([p for _, _, p in found])
    return sorted((Test(*f, a) for f, a in zip(found, adjusted, strict=True)), key=lambda test: test.p)


def sign_test(one: np.ndarray, two: np.ndarray) -> float:
    """Two-sided p-value of pairs [n] that differ more often in one direction; equal ones and NaN say nothing."""
    one, two = np.asarray(one, float), np.asarray(two, float)
    up, down = int((one > two).sum()), int((one < two).sum())
    return float(_p_value(up, up + down))


def _p_value(up: Any, n: Any) -> Any:
    return np.minimum(1.0, 2 * binom.cdf(np.minimum(up, n - up), n, 0.5))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of `p_values`."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()


def power(claimed: float, true: float, n: int, alpha: float) -> float:
    """Probability that n pairs refute a claimed rate of success at level `alpha` where another one is true.

    For pairs that have nothing in common but the rates, which is the worst case: what they share only helps.
    """
    up, down = claimed * (1 - true), true * (1 - claimed)
    if not up + down:
        return 0.0
    differ, ups = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    probability = binom.pmf(differ, n, up + down) * binom.pmf(ups, differ, up / (up + down))
    return float(probability[(_p_value(ups, differ) <= alpha) & (ups <= differ)].sum())


def detectable(n: int, alpha: float, wanted: float = 0.9) -> float:
    """Smallest overstatement of success that n pairs find with probability `wanted`, at 1/2, where it is hardest."""
    return next(d / 100 for d in range(1, 101) if d == 100 or power(0.5 + d / 200, 0.5 - d / 200, n, alpha) >= wanted)


def edits(alpha: float) -> int:
    """How many forged episodes in one direction are found where all others agree, as they do on similar machines."""
    return int(np.ceil(1 - np.log2(alpha)))
