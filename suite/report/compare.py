"""Are two evaluations of one policy the same? Exact tests on their episodes, and what "the same machine" means.

Episodes are paired: episode k of env i has the same task, cell and factors both times. Were both evaluated with one
policy, each pair could as well have come the other way round, whatever is drawn and however rounding ends. So of the
pairs that differ, one direction has as many as fair coins give: the sign test (for success McNemar's, 1947), which is
exact. It sees no sizes, but a page shows means: that of the pairs' differences is tested by Hoeffding's bound (1963) on
sums of signs, which holds whatever the differences are. The correction for many tests is Holm's (1979). So a true claim
is refuted with probability at most `ALPHA`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import binom

import tasks

ALPHA = 0.001
"""Probability with which evaluations of the same policy are said to differ, over all cells together."""

FAR = 10.0
"""Times the largest return of a repetition beyond which no return of the same policy is: one that is so far off moves a
mean, and no test of signs sees a single one."""

OUTCOMES = ("return", "length", "success_once", "success_at_end", "success", "termination", "violation.")
"""Columns of episodes that a policy brings about, or how their names begin; the protocol gives the others."""

STACK = ("packages", "python", "os", "cpu", "cpu_features", "cores")
"""Keys of a provenance that can decide last bits: the system has its own maths library, engines split work by cores."""


@dataclass(frozen=True)
class Cell:
    """One cell evaluated twice: success [n] and return [n], NaN where an episode has none, of each evaluation.

    `violations` has the steps over each safety limit [n].
    """

    name: str
    success: tuple[np.ndarray, np.ndarray]
    returns: tuple[np.ndarray, np.ndarray]
    violations: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def measures(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """All that a page shows of a cell."""
        over = {f"violations of {limit}": counts for limit, counts in self.violations.items()}
        return {"success": self.success, "return": self.returns, **over}


@dataclass(frozen=True)
class Test:
    """One hypothesis: its p-value, and Holm's adjusted one, to be compared with alpha itself."""

    cell: str
    measure: str
    p: float
    adjusted: float


def why_not_bitwise(
    task: str, engine: str, one: Mapping[str, Any], two: Mapping[str, Any], devices: Sequence[str | None]
) -> str | None:
    """Why a repetition may differ in its bits, or None where it must not: see `TaskSpec.inexact`, `different_stack`."""
    return tasks.get(task).inexact.get(engine) or different_stack(one, two, devices)


def different_stack(one: Mapping[str, Any], two: Mapping[str, Any], devices: Sequence[str | None]) -> str | None:
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


def other_layout(one: pa.Table, two: pa.Table) -> str | None:
    """Where two tables are not of the same episodes, whatever came of them, or None where they are.

    Numbers that the protocol gives may differ by rounding, as on another device.
    """
    fixed = [[name for name in table.column_names if not name.startswith(OUTCOMES)] for table in (one, two)]
    if one.column_names != two.column_names or one.num_rows != two.num_rows:
        return first_difference(one, two)
    for name in fixed[0]:
        a, b = (table[name].to_numpy(zero_copy_only=False) for table in (one, two))
        same = np.isclose(a, b, 1e-5, 1e-6) if a.dtype == b.dtype == np.float64 else a == b
        if len(rows := (~np.asarray(same, bool)).nonzero()[0]):
            return f"{name} of row {rows[0]} is {a[rows[0]]!r} and {b[rows[0]]!r}"
    return None


def far_off(claimed: pa.Table, again: pa.Table) -> str | None:
    """A return of `claimed` that is of another size than all of `again`, or None."""
    a, b = (table["return"].to_numpy() for table in (claimed, again))
    if not np.isfinite(b).any():
        return None
    most = FAR * max(np.abs(b[np.isfinite(b)]).max(), 1e-3)
    if len(rows := (np.abs(a) > most).nonzero()[0]):
        return f"return of row {rows[0]} is {a[rows[0]]:.6g}; run again, none is beyond {most / FAR:.6g}"
    return None


def tests(cells: Sequence[Cell]) -> list[Test]:
    """Each measure in each cell, and over all of them, which sees what is small but everywhere.

    Most suspicious first.
    """
    found = [(cell.name, measure, _same(measure, *pair)) for cell in cells for measure, pair in cell.measures().items()]
    if len(cells) > 1:
        every = [cell.measures() for cell in cells]
        for measure in dict.fromkeys(name for measures in every for name in measures):
            pairs = [measures[measure] for measures in every if measure in measures]
            together = (np.concatenate([pair[i] for pair in pairs]) for i in range(2))
            found.append(("all cells", measure, _same(measure, *together)))
    adjusted = holm([p for _, _, p in found])
    return sorted((Test(*f, a) for f, a in zip(found, adjusted, strict=True)), key=lambda test: test.p)


def _same(measure: str, one: np.ndarray, two: np.ndarray) -> float:
    """P-value of "these are of one policy"; where values have sizes, by signs and by means, corrected for being two."""
    if measure == "success":
        return sign_test(one, two)
    return min(1.0, 2 * min(sign_test(one, two), mean_test(one, two)))


def mean_test(one: np.ndarray, two: np.ndarray) -> float:
    """Upper bound of the p-value of the mean difference of pairs [n]; those with NaN or infinities say nothing.

    Given their sizes, the differences have random signs: P(|sum| >= t) <= 2 exp(-t^2 / (2 sum of squares)).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        differ = np.asarray(one, float) - np.asarray(two, float)
    differ = differ[np.isfinite(differ) & (differ != 0)]
    if not len(differ):
        return 1.0
    differ = differ / np.abs(differ).max()  # squares of large numbers overflow
    return float(min(1.0, 2 * np.exp(-(differ.sum() ** 2) / (2 * (differ**2).sum()))))


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
