"""What a policy is worth outside the world it was trained in: pure functions on counts by cell of the protocol.

`rates` are success [..., cells] in the order of `names`, the protocol's cells: `nominal/<grade>`,
`factor/<name>/<magnitude>`, `category/<category>`, `all/mixed`, `held_out/mixed`. Each function keeps the leading axes,
so the same one gives the estimate and its value on every bootstrap resample. A share of nothing is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.stats import crossed, intervals
from leaderboard.stats.statistics import cvar

FRACTION = 0.1  # of the cells, for CVaR


@dataclass(frozen=True)
class Counts:
    """One entry on one task: outcomes [seeds, items] by cell, see `crossed`, and episodes [seeds, cells].

    `reference` is the grade that perturbed cells are at, and `violations` steps over each safety limit [seeds, cells].
    """

    names: tuple[str, ...]
    outcomes: tuple[np.ndarray, ...]
    episodes: np.ndarray
    reference: str
    violations: dict[str, np.ndarray]


def factors(names: Sequence[str]) -> list[str]:
    """The factors that have cells of their own, sorted."""
    return sorted({name.split("/")[1] for name in names if name.startswith("factor/")})


def group(names: Sequence[str], prefix: str) -> np.ndarray:
    """Indices of the cells under `prefix`, such as `factor/mass` or `category`; magnitudes come in order."""
    return np.array([i for i, name in enumerate(names) if name == prefix or name.startswith(prefix + "/")], dtype=int)


def retention(rates: np.ndarray, names: Sequence[str], prefix: str, reference: str) -> np.ndarray:
    """Mean success of the cells under `prefix` ÷ nominal success at the grade that they are at; may be above 1."""
    nominal = rates[..., names.index(f"nominal/{reference}")]
    perturbed = rates[..., group(names, prefix)].mean(axis=-1)
    return np.divide(perturbed, nominal, out=np.full_like(perturbed, np.nan), where=nominal > 0)


def area(rates: np.ndarray, names: Sequence[str], factor: str, reference: str) -> np.ndarray:
    """Area under success against magnitude, from 0 (nominal, at the same grade) to 1, by trapezoids.

    The magnitudes are equally far apart, as the protocol's are.
    """
    nominal = rates[..., [names.index(f"nominal/{reference}")]]
    curve = np.concatenate([nominal, rates[..., group(names, f"factor/{factor}")]], axis=-1)
    return np.asarray(np.trapezoid(curve, dx=1 / (curve.shape[-1] - 1), axis=-1))


def worst_factor(rates: np.ndarray, names: Sequence[str], reference: str) -> np.ndarray:
    """Retention of the factor that costs most."""
    return np.min([retention(rates, names, f"factor/{f}", reference) for f in factors(names)], axis=0)


def cvar_of_cells(rates: np.ndarray) -> np.ndarray:
    """Mean success of the worst tenth of all cells."""
    return cvar(rates, FRACTION)


def resample(counts: Counts, rng: np.random.Generator, resamples: int = intervals.RESAMPLES) -> np.ndarray:
    """Bootstrap of success by cell, [resamples, cells]: seeds are drawn, and in each cell its items."""
    return crossed.resample(counts.outcomes, rng, resamples)


def interval(
    statistic: Callable[[np.ndarray], np.ndarray], counts: Counts, draws: np.ndarray
) -> tuple[float, float, float]:
    """Estimate of a `statistic` of the rates [..., cells] and its interval, see `intervals.bootstrap_interval`.

    With one seed nothing is known of others: the limits are NaN.
    """
    point = float(statistic(np.array([crossed.mean([y]) for y in counts.outcomes])))
    drawn = statistic(draws)
    drawn = drawn[np.isfinite(drawn)]
    spread = crossed.components(counts.outcomes).spread
    if not np.isfinite(point) or not len(drawn) or np.isnan(spread.variance):
        return point, np.nan, np.nan
    return point, *intervals.bootstrap_interval(point, drawn, intervals.stretch(spread, draws.mean(axis=-1)))


def violations_per_episode(counts: Counts, limit: str, cells: np.ndarray) -> tuple[float, float, float]:
    """Steps over a safety limit per episode in `cells`, mean over seeds, with Student's interval over seeds.

    With one seed nothing is known of others: the limits are NaN.
    """
    by_seed = counts.violations[limit][:, cells].sum(axis=1) / counts.episodes[:, cells].sum(axis=1)
    point = float(by_seed.mean())
    seeds = len(by_seed)
    if seeds == 1:
        return point, np.nan, np.nan
    half = float(intervals.student(seeds - 1)) * float(by_seed.std(ddof=1)) / seeds**0.5
    return point, max(0.0, point - half), point + half
