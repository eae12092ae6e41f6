import numpy as np
import pytest

from leaderboard.stats import crossed, reliability, threshold
from leaderboard.stats.ranks import rank_sets


def sets(scores, variance, seed=0, df=1e9, shared=0.0):
    """Of entries of one variance, some of it shared by all."""
    scores = np.asarray(scores, float)
    covariance = np.eye(len(scores)) * variance + shared
    errors = np.full((len(scores),) * 2, (2 * variance) ** 0.5)
    return rank_sets(scores, covariance, errors, np.full(errors.shape, df), np.random.default_rng(seed))


def test_far_scores_have_one_rank_and_close_ones_all():
    assert sets([0.9, 0.5, 0.1], 1e-6).tolist() == [[1, 1], [2, 2], [3, 3]]
    assert sets([0.5, 0.51, 0.1], 1e-3).tolist() == [[1, 2], [1, 2], [3, 3]]
    assert sets([0.5], 1e-3).tolist() == [[1, 1]]
    assert sets([0.5, 0.4], 1e-3, df=1).tolist() == [[1, 2], [1, 2]]
    assert sets([0.5, 0.3], 1e-3, shared=10.0).tolist() == [[1, 1], [2, 2]]  # what all share moves no rank


def test_the_sets_of_all_entries_are_right_together():
    rng = np.random.default_rng(1)
    truth = np.array([0.6, 0.5, 0.5, 0.5, 0.2])
    low, high = [1, 2, 2, 2, 5], [1, 4, 4, 4, 5]  # entries that are equal may have any rank among them
    right = 0
    for i in range(300):
        found = sets(truth + 0.05 * rng.standard_normal(5), 0.05**2, seed=i)
        right += bool((found[:, 0] <= low).all() and (found[:, 1] >= high).all())
    assert right / 300 >= 0.93


DIFFICULTIES = np.linspace(0, 1, 5)


def test_d50_is_where_success_is_one_half():
    rng = np.random.default_rng(0)
    truth = 0.6 + 0.05 * rng.standard_normal((6, 1))
    cells = [(rng.random((6, 256)) < 1 / (1 + np.exp((d - truth) / 0.1))).astype(float) for d in DIFFICULTIES]
    point, low, high = threshold.d50(cells, DIFFICULTIES)
    assert point == pytest.approx(0.6, abs=0.06)
    assert low < point < high
    step = [np.full((3, 8), float(d < 0.6)) for d in DIFFICULTIES]
    assert threshold.d50(step, DIFFICULTIES)[0] == pytest.approx(0.625, abs=0.01)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_d50_stays_on_the_ladder(level):
    cells = [np.full((3, 8), level)] * 5
    assert threshold.d50(cells, DIFFICULTIES)[0] == level
    alone = threshold.d50([np.full((1, 8), 1.0 - d) for d in DIFFICULTIES], DIFFICULTIES)
    assert alone[0] == pytest.approx(0.5)
    assert np.isnan(alone[1])


def test_the_interval_of_d50_covers():
    rng = np.random.default_rng(2)
    hits, seeds, items = 0, 10, 32
    slope = 0.1
    for _ in range(300):
        shift = 0.55 + 0.04 * rng.standard_normal((seeds, 1))
        cells = [
            (rng.random((seeds, items)) < 1 / (1 + np.exp((d - shift) / slope))).astype(float) for d in DIFFICULTIES
        ]
        _, low, high = threshold.d50(cells, DIFFICULTIES)
        hits += low <= 0.55 <= high
    assert 0.92 <= hits / 300 <= 0.99


def test_beyond_chance():
    found = threshold.beyond_chance(np.array([0.14, 1.0, 0.5, 0.0, 1.0]), np.array([0.14, 0.14, 0.0, 0.2, 1.0]))
    np.testing.assert_allclose(found, [0, 1, 0.5, -0.25, np.nan])


def test_reliability_is_the_share_of_seeds_that_learned():
    share, low, high = reliability.learned(np.array([1.0, 0.9, 0.0, 0.05, 0.04]))
    assert share == pytest.approx(0.6)
    assert low < 0.3 < 0.8 < high
    assert reliability.learned(np.ones(5))[1] < 0.6  # five of five leave room for a third that fails
    assert np.isnan(reliability.learned(np.ones(1))[1])


def test_env_steps_to_first_success_count_seeds_that_never_had_any():
    steps = np.array([10.0, 20.0, 30.0])
    assert reliability.first_success(steps, np.array([np.nan, 0.06, 0.0])) == (20.0, True)
    assert reliability.first_success(steps, np.zeros(3)) == (30.0, False)
    times, reached = np.array([10.0, 20.0, 30.0, 30.0, 30.0]), np.array([True, True, True, False, False])
    assert reliability.quantile(times, reached) == 30
    assert reliability.quantile(times, reached, 0.4) == 20
    assert reliability.quantile(times, reached, 0.9) == np.inf
    assert reliability.quantile(np.array([30.0]), np.array([False])) == np.inf


def test_entries_covary_through_the_items_that_they_share():
    rng = np.random.default_rng(3)
    item = rng.standard_normal(64)
    x, y = ([item + 0.1 * rng.standard_normal((5, 64))] for _ in range(2))
    found = crossed.item_covariance([x, y])
    assert found[0, 1] == found[1, 0] == pytest.approx(item.var(ddof=1) / 64, rel=0.2)
    assert found[0, 0] == pytest.approx(crossed.components(x).item)
    assert crossed.item_covariance([x, [y[0][:, :9]]])[0, 1] == 0
