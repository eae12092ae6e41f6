"""Rows of the robustness part of the page: one entry on one task under the protocol's perturbations."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from leaderboard.board.rows import EngineRow, Estimate, TaskRow, estimate, evaluation, generator
from leaderboard.data.runs import Entry
from leaderboard.stats import crossed, robustness
from leaderboard.stats.robustness import Counts
from tasks.spec import GRADES


@dataclass(frozen=True)
class FactorRow:
    """One factor alone: what is kept of nominal success, the area under the magnitude curve, and success by value."""

    name: str
    values: tuple[float, ...]
    success: tuple[Estimate, ...]
    retention: Estimate
    area: Estimate


@dataclass(frozen=True)
class Violations:
    """Steps over one safety limit per episode: in the nominal cells, and in all others."""

    limit: str
    nominal: Estimate
    perturbed: Estimate


@dataclass(frozen=True)
class RobustRow:
    """`retention` is by category, `all/mixed`, `held_out/mixed` and `engine/<name>`; NaN where nominal success is 0."""

    row: TaskRow
    reference: str  # grade
    nominal: Estimate  # success at that grade
    factors: tuple[FactorRow, ...]
    retention: dict[str, Estimate]
    worst: FactorRow | None
    worst_retention: Estimate
    cvar: Estimate
    violations: tuple[Violations, ...]

    @property
    def all_violations(self) -> Estimate:
        """Steps over any limit per episode, perturbed, without an interval where there are several limits; or NaN."""
        if len(self.violations) == 1:
            return self.violations[0].perturbed
        total = sum(v.perturbed.value for v in self.violations) if self.violations else math.nan
        return Estimate(total, math.nan, math.nan)


def counts(row: TaskRow) -> Counts | None:
    """Counts by cell of a row's runs, in the cells that all of them have; None where no perturbed cells are."""
    cells = [run.evaluation.cells for run in row.runs]
    reference = cells[0].reference
    if not reference or any(c.reference != reference for c in cells):
        return None
    names = tuple(n for n in cells[0].names if all(n in c.names for c in cells[1:]))
    places = [[c.names.index(n) for n in names] for c in cells]
    limits = [limit for limit in cells[0].violations if all(limit in c.violations for c in cells)]
    return Counts(
        names=names,
        outcomes=tuple(crossed.outcomes([c.items[c.names.index(n)] for c in cells]) for n in names),
        episodes=np.stack([c.episodes[p] for c, p in zip(cells, places, strict=True)]),
        reference=reference,
        violations={m: np.stack([c.violations[m][p] for c, p in zip(cells, places, strict=True)]) for m in limits},
    )


def robust_rows(results: Sequence[TaskRow], engines: Sequence[EngineRow]) -> list[RobustRow]:
    """A row for each result that has perturbed cells, in the same order."""
    others: dict[tuple[str, Entry], list[EngineRow]] = defaultdict(list)
    for engine in engines:
        others[engine.own.task, engine.own.entry].append(engine)
    found = [(row, counts(row)) for row in results]
    return [_robust_row(row, c, others[row.task, row.entry]) for row, c in found if c is not None]


def groups(rows: Sequence[RobustRow]) -> list[tuple[str, str]]:
    """Keys of the rows' `retention` and their headings: categories, all mixed, held out, other engines."""
    kinds = {"category": "", "all": "all ", "held_out": "held out ", "engine": ""}
    names = [name.partition("/") for name in sorted({name for r in rows for name in r.retention})]
    return [(f"{k}/{rest}", kinds[k] + rest) for k in kinds for kind, _, rest in names if kind == k]


def _robust_row(row: TaskRow, c: Counts, others: Sequence[EngineRow]) -> RobustRow:
    draws = robustness.resample(c, generator("robustness", row.task, row.entry))
    success = [estimate(crossed.mean([y]), *crossed.success_interval([y])) for y in c.outcomes]

    def interval(statistic: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        return _estimate(robustness.interval(statistic, c, draws))

    def kept(prefix: str) -> Estimate:
        return interval(partial(robustness.retention, names=c.names, prefix=prefix, reference=c.reference))

    factors: list[FactorRow] = []
    for name in robustness.factors(c.names):
        values, at = _by_value(row, name)
        factors.append(
            FactorRow(
                name=name,
                values=values,
                success=at,
                retention=kept(f"factor/{name}"),
                area=interval(partial(robustness.area, names=c.names, factor=name, reference=c.reference)),
            )
        )
    groups = [n for n in c.names if n.startswith("category/") or n in ("all/mixed", "held_out/mixed")]
    known = [f for f in factors if not math.isnan(f.retention.value)]
    nothing = Estimate(math.nan, math.nan, math.nan)
    worst = partial(robustness.worst_factor, names=c.names, reference=c.reference)
    nominal = np.array([i for i, n in enumerate(c.names) if n == f"nominal/{c.reference}"])
    perturbed = np.array([i for i, n in enumerate(c.names) if not n.startswith("nominal/")])
    return RobustRow(
        row=row,
        reference=c.reference,
        nominal=success[nominal[0]],
        factors=tuple(factors),
        retention={name: kept(name) for name in groups} | {f"engine/{e.other.engine}": _across(e) for e in others},
        worst=min(known, key=lambda f: (f.retention.value, f.name)) if known else None,
        worst_retention=interval(worst) if known else nothing,
        cvar=interval(robustness.cvar_of_cells),
        violations=tuple(
            Violations(
                limit,
                _estimate(robustness.violations_per_episode(c, limit, nominal)),
                _estimate(robustness.violations_per_episode(c, limit, perturbed)),
            )
            for limit in sorted(c.violations)
        ),
    )


def _by_value(row: TaskRow, factor: str) -> tuple[tuple[float, ...], tuple[Estimate, ...]]:
    """The values of a factor that all runs of the row have episodes at, and success there; nothing if unknown."""
    found = [run.evaluation.cells.points.get(factor) for run in row.runs]
    points = [p for p in found if p is not None]
    if len(points) < len(found) or any(list(p) != list(points[0]) for p in points):
        return (), ()
    every = [crossed.outcomes([p[value] for p in points]) for value in points[0]]
    return tuple(points[0]), tuple(estimate(crossed.mean([y]), *crossed.success_interval([y])) for y in every)


def _across(engines: EngineRow) -> Estimate:
    """Mean success over the grades on the other engine ÷ that on the own one, over the same seeds."""
    sides = [[evaluation(run, r.engine).cells for run in r.runs] for r in (engines.own, engines.other)]
    by_side = [
        [np.concatenate([e.items[e.names.index(f"nominal/{g}")] for g in GRADES]) for e in side] for side in sides
    ]
    c = Counts(
        names=("nominal/own", "other"),
        outcomes=tuple(crossed.outcomes(side) for side in by_side),
        episodes=np.stack([[e.episodes.sum() for e in side] for side in sides], axis=1),
        reference="own",
        violations={},
    )
    draws = robustness.resample(c, generator("engine", engines.own.task, engines.own.entry, engines.other.engine))
    kept = partial(robustness.retention, names=c.names, prefix="other", reference="own")
    return _estimate(robustness.interval(kept, c, draws))


def _estimate(found: tuple[float, float, float]) -> Estimate:
    value, low, high = found
    return Estimate(value, max(0.0, min(low, value)) if low == low else low, max(high, value) if high == high else high)
