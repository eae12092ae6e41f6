"""Variance of success over seeds and start states as crossed random effects: pure functions on arrays.

All seeds (trainings) of a row are evaluated on the same *items*: envs of a cell, each with its start states and its
factor values. So an item that is hard is hard for all seeds, and more seeds do not average it out. The outcome of seed
i on item j is taken for mean + seed i + item j + rest, with independent effects, and the variance of the mean over both
is MS_seed/(S I) + MS_item/(S I) - MS_rest/(S I), the two-way analysis of variance (Searle, Casella and McCulloch,
"Variance components", 1992; Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007). Its degrees of
freedom are Satterthwaite's. The seeds' and the items' own part are lower bounds of it: where the difference of noisy
mean squares falls below one of them, that one counts.

*Outcomes* are arrays [..., seeds, items] of the share of an item's episodes that succeeded, one array a cell; cells may
differ in their items, not in their seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.stats.intervals import Spread, spread_interval

Outcomes = Sequence[np.ndarray]


@dataclass(frozen=True)
class Components:
    """What seeds, items and the rest add to the variance of a mean, each with its degrees of freedom; one shape."""

    seed: np.ndarray
    item: np.ndarray
    rest: np.ndarray
    seed_df: np.ndarray
    item_df: np.ndarray
    rest_df: np.ndarray

    @property
    def spread(self) -> Spread:
        """Variance of the mean and Satterthwaite's degrees of freedom, never fewer than the seeds'."""
        variance = np.maximum(self.seed + self.item - self.rest, np.maximum(self.seed, self.item))
        parts = [(self.seed, self.seed_df), (self.item, self.item_df), (self.rest, self.rest_df)]
        return Spread(variance, np.maximum(_satterthwaite(variance, parts), self.seed_df))


def _satterthwaite(variance: np.ndarray, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    known = np.sum([part**2 / df for part, df in parts], axis=0)
    return np.where(known > 0, variance**2 / np.where(known > 0, known, 1), np.inf)


def outcomes(items: Sequence[np.ndarray]) -> np.ndarray:
    """Outcomes [seeds, items] of one cell from the successes and episodes [items, 2] of each seed.

    Seeds that have not as many items as the others were not evaluated on the same ones: each is one item then. Items
    with more episodes count for more, so that a seed's mean is its success.
    """
    rates = np.array([one[:, 0].sum() / one[:, 1].sum() for one in items])[:, None]
    if len({len(one) for one in items}) > 1:
        return rates
    counted = np.stack(items).astype(float)
    successes, episodes = counted[..., 0], counted[..., 1]
    return rates + (successes - rates * episodes) / episodes.mean(axis=-1, keepdims=True)


def components(cells: Outcomes, weights: Sequence[float] | np.ndarray | None = None) -> Components:
    """Components of the weighted sum of mean success by cell; the plain mean over cells without `weights`.

    A single seed has nothing to tell the spread of seeds by: all is NaN then. Cells of a single item have no spread of
    items: their seeds' counts alone.
    """
    weights = np.full(len(cells), 1 / len(cells)) if weights is None else np.asarray(weights, float)
    seeds = cells[0].shape[-2]
    shape = cells[0].shape[:-2]
    if seeds == 1:
        return Components(*np.full((6, *shape), np.nan))
    by_seed = np.sum([w * y.mean(axis=-1) for w, y in zip(weights, cells, strict=True)], axis=0)
    items, rests = [], []
    for w, y in zip(weights, cells, strict=True):
        count = y.shape[-1]
        if count > 1:
            items.append((w**2 * y.mean(axis=-2).var(axis=-1, ddof=1) / count, np.array(count - 1.0)))
            rests.append((w**2 * _rest(y) / (seeds * count), np.array((count - 1.0) * (seeds - 1))))
    item, rest = (np.sum([part for part, _ in found], axis=0) + np.zeros(shape) for found in (items, rests))
    return Components(
        seed=by_seed.var(axis=-1, ddof=1) / seeds,
        item=item,
        rest=rest,
        seed_df=np.full(shape, seeds - 1.0),
        item_df=_satterthwaite(item, items),
        rest_df=_satterthwaite(rest, rests),
    )


def _rest(y: np.ndarray) -> np.ndarray:
    """Mean square of what neither the seed nor the item explains, of outcomes [..., seeds, items]."""
    seeds, items = y.shape[-2:]
    left = y - y.mean(axis=-1, keepdims=True) - y.mean(axis=-2, keepdims=True) + y.mean(axis=(-2, -1), keepdims=True)
    return np.square(left).sum(axis=(-2, -1)) / ((seeds - 1) * (items - 1))


def difference_spread(x: Outcomes, y: Outcomes) -> Spread:
    """Spread of the mean over cells of x minus that of y, where both were evaluated on the same items, in order.

    What an item does to both of them alike drops out. Cells that differ in their number of items are not paired. NaN
    where one side has a single seed.
    """
    one, two = components(x), components(y)
    if any(a.shape[-1] != b.shape[-1] for a, b in zip(x, y, strict=True)):
        item, item_df = _add(one.item, one.item_df, two.item, two.item_df)
    else:  # the two sides' mean by item as the one seed of a cell that has no spread of seeds
        paired = [a.mean(axis=-2) - b.mean(axis=-2) for a, b in zip(x, y, strict=True) if a.shape[-1] > 1]
        parts = [(d.var(axis=-1, ddof=1) / d.shape[-1] / len(x) ** 2, np.array(d.shape[-1] - 1.0)) for d in paired]
        item = np.sum([part for part, _ in parts], axis=0) + 0 * one.item
        item_df = _satterthwaite(item, parts)
    seed, seed_df = _add(one.seed, one.seed_df, two.seed, two.seed_df)
    rest, rest_df = _add(one.rest, one.rest_df, two.rest, two.rest_df)
    return Components(seed, item, rest, seed_df, item_df, rest_df).spread


def _add(a: np.ndarray, a_df: np.ndarray, b: np.ndarray, b_df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return a + b, _satterthwaite(a + b, [(a, a_df), (b, b_df)])


def item_covariance(entries: Sequence[Outcomes]) -> np.ndarray:
    """Covariance [entries, entries] of the entries' means over cells through the items that they share, in order.

    Its diagonal is `Components.item`. Entries whose cells differ in their number of items have none in common.
    """
    total = np.zeros((len(entries), len(entries)))
    for cells in zip(*entries, strict=True):
        for i, x in enumerate(cells):
            for j, y in enumerate(cells[: i + 1]):
                if x.shape[-1] == y.shape[-1] > 1:
                    a, b = x.mean(axis=-2), y.mean(axis=-2)
                    together = (a - a.mean()) @ (b - b.mean()) / (len(a) - 1) / len(a)
                    total[i, j] += together
                    total[j, i] += together * (i != j)
    return total / len(entries[0]) ** 2


def mean(cells: Outcomes) -> np.ndarray:
    """Mean success over cells, seeds and items."""
    return np.mean([y.mean(axis=(-2, -1)) for y in cells], axis=0)


def trials(cells: Outcomes) -> int:
    """What is left to say how sure a rate of exactly 0 or 1 is: the items, once for all seeds, since they share them.

    Where nothing is shared it is the seeds.
    """
    return sum(y.shape[-1] if y.shape[-1] > 1 else y.shape[-2] for y in cells)


def success_interval(cells: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    """Interval of mean success over `cells`, for seeds and items that were not drawn; NaN with a single seed.

    Wilson's interval with the number of episodes that would leave the same variance, and Student's quantile (as for
    clustered samples: Dean and Pagano, J. Survey Stat. Methodol. 3, 2015).
    """
    spread = components(cells).spread
    low, high = spread_interval(mean(cells), np.array(trials(cells)), spread)
    known = np.isfinite(spread.variance)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def resample(cells: Outcomes, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """Pigeonhole bootstrap (Owen, 2007) of success by cell, [resamples, cells]: seeds are drawn, and each cell's items.

    `cells` are [seeds, items].
    """
    seeds = cells[0].shape[0]
    drawn_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    drawn = []
    for y in cells:
        count = y.shape[1]
        drawn.append(((drawn_seeds @ y) * rng.multinomial(count, np.full(count, 1 / count), resamples)).sum(1) / count)
    return np.stack(drawn, axis=1)
