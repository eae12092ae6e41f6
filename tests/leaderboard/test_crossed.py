import numpy as np
import pytest
from scipy import stats

from leaderboard.stats import crossed
from suite.report.wilson import wilson_interval


def drawn(rng, shape, seed=0.1, item=0.1, rest=0.3, level=0.5):
    """Outcomes [..., seeds, items] of normal effects with these standard deviations."""
    *lead, seeds, items = shape
    return (
        level
        + seed * rng.standard_normal((*lead, seeds, 1))
        + item * rng.standard_normal((*lead, 1, items))
        + rest * rng.standard_normal(shape)
    )


def test_outcomes_are_shares_by_item_whose_mean_is_the_seeds_success():
    even = [np.array([[2, 2], [0, 2], [1, 2]]), np.array([[1, 2], [1, 2], [2, 2]])]
    np.testing.assert_allclose(crossed.outcomes(even), [[1, 0, 0.5], [0.5, 0.5, 1]])
    uneven = [np.array([[3, 4], [0, 1]]), np.array([[1, 4], [1, 1]])]
    np.testing.assert_allclose(crossed.outcomes(uneven).mean(axis=1), [0.6, 0.4])
    other_items = [np.array([[3, 4], [0, 1]]), np.array([[1, 4]])]
    np.testing.assert_allclose(crossed.outcomes(other_items), [[0.6], [0.25]])


def test_components_are_those_of_the_two_way_analysis_of_variance():
    y = drawn(np.random.default_rng(0), (6, 20))
    found = crossed.components([y])
    grand = y.mean()
    ms_seed = 20 * np.square(y.mean(1) - grand).sum() / 5
    ms_item = 6 * np.square(y.mean(0) - grand).sum() / 19
    total = np.square(y - grand).sum()
    ms_rest = (total - 5 * ms_seed - 19 * ms_item) / (5 * 19)
    np.testing.assert_allclose([found.seed, found.item, found.rest], np.array([ms_seed, ms_item, ms_rest]) / 120)
    assert (found.seed_df, found.item_df, found.rest_df) == (5, pytest.approx(19), pytest.approx(95))


def test_components_are_free_of_bias_over_cells_that_share_seeds():
    rng = np.random.default_rng(1)
    seed = 0.1 * rng.standard_normal((4000, 5, 1))
    cells = [drawn(rng, (4000, 5, items), seed=0, item=0.2) + seed for items in (8, 16)]
    found = crossed.components(cells)
    estimated = (found.seed + found.item - found.rest).mean()
    assert estimated == pytest.approx(np.var(crossed.mean(cells)), rel=0.05)


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize("effects", [(0.1, 0.0), (0.1, 0.2), (0.0, 0.2), (0.02, 0.02)])
def test_intervals_cover_whatever_seeds_share(seeds, effects):
    y = drawn(np.random.default_rng(2), (3000, seeds, 16), *effects)
    low, high = crossed.success_interval([y])
    assert 0.93 <= np.mean((low <= 0.5) & (high >= 0.5)) <= 0.99


def test_seeds_that_share_hard_items_do_not_average_them_out():
    y = np.broadcast_to(np.arange(16) % 2.0, (20, 16))
    low, high = crossed.success_interval([y])
    wilson = wilson_interval(np.array(8), np.array(16))
    assert low < 0.28
    assert high - low > 0.95 * (wilson[1] - wilson[0])


def test_seeds_alone_count_where_there_are_many_items_and_they_are_alike():
    y = np.broadcast_to(np.random.default_rng(3).uniform(0.3, 0.7, (200, 1)), (200, 4))
    low, high = crossed.success_interval([y])
    np.testing.assert_allclose([low, high], stats.t.interval(0.95, 199, y.mean(), stats.sem(y[:, 0])), atol=2e-3)


def test_no_success_and_nothing_but_success_leave_room():
    for level in (0.0, 1.0):
        cells = [np.full((5, 16), level)] * 2
        low, high = crossed.success_interval(cells)
        np.testing.assert_allclose([low, high], wilson_interval(np.array(32 * level), np.array(32)))
        assert high - low > 0.02
    identical = np.broadcast_to(np.full(16, 0.5), (5, 16))
    assert np.ptp(crossed.success_interval([identical])) > 0.1


def test_one_seed_says_nothing_of_others():
    assert np.isnan(crossed.success_interval([np.ones((1, 16))])).all()
    one_item = crossed.success_interval([np.array([[0.2], [0.4], [0.9]])])  # nothing is paired: seeds alone
    assert 0 <= one_item[0] < 0.5 < one_item[1] <= 1


def test_intervals_of_a_batch_are_those_of_its_members():
    y = np.clip(drawn(np.random.default_rng(4), (3, 5, 8)), 0, 1)
    together = crossed.success_interval([y, y[..., :4]])
    np.testing.assert_allclose(together, np.transpose([crossed.success_interval([a, a[..., :4]]) for a in y]))


def test_what_items_do_to_both_sides_drops_out_of_a_difference():
    rng = np.random.default_rng(5)
    item = 0.4 * rng.standard_normal(64)
    x, y = (0.5 + item + drawn(rng, (10, 64), 0.02, 0, 0.1, 0) for _ in range(2))
    paired = crossed.difference_spread([x], [y])
    alone = [crossed.components([z]).spread.variance for z in (x, y)]
    assert paired.variance < 0.1 * sum(alone)
    unpaired = crossed.difference_spread([x], [y[:, :60]])
    assert unpaired.variance == pytest.approx(sum(alone), rel=0.2)
    assert np.isnan(crossed.difference_spread([x], [y[:1]]).variance)


def test_the_pigeonhole_bootstrap_draws_seeds_and_items():
    y = drawn(np.random.default_rng(6), (20, 40), 0.1, 0.2, 0.05)
    draws = crossed.resample([y, y], np.random.default_rng(7), 4000)
    assert draws.shape == (4000, 2)
    found = crossed.components([y])
    assert draws[:, 0].var() == pytest.approx(found.spread.variance, rel=0.15)
    assert np.corrcoef(draws.T)[0, 1] == pytest.approx(found.seed / (found.seed + found.item), abs=0.1)
