import numpy as np
import pytest
from scipy import stats

from leaderboard import statistics


@pytest.mark.parametrize(("k", "n"), [(0, 64), (1, 1), (3, 7), (50, 64), (64, 64), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(k, n, confidence):
    low, high = statistics.wilson_interval(np.array([k]), np.array([n]), confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=1e-12)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="between 0 and episodes"):
        statistics.wilson_interval(np.array([k]), np.array([n]))


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 7])
def test_iqm_and_mean_are_scipys(seeds):
    rng = np.random.default_rng(seeds)
    tasks = [rng.random((seeds, 5)) for _ in range(3)]
    pooled = np.concatenate([t.ravel() for t in tasks])
    assert statistics.iqm(tasks) == pytest.approx(stats.trim_mean(pooled, 0.25))
    assert statistics.mean(tasks) == pytest.approx(stats.trim_mean(pooled, 0.0))


def test_statistics_keep_leading_axes():
    scores = np.random.default_rng(0).random((4, 3, 5))
    for statistic in (statistics.mean, statistics.iqm, statistics.optimality_gap):
        each = [statistic([s]) for s in scores]
        np.testing.assert_allclose(statistic([scores]), each)


def test_a_task_with_more_seeds_weighs_no_more_in_the_mean():
    assert statistics.mean([np.ones((9, 5)), np.zeros((1, 5))]) == pytest.approx(0.5)


def test_optimality_gap_earns_nothing_above_the_target():
    scores = [np.array([[0.2, 1.0]])]
    assert statistics.optimality_gap(scores) == pytest.approx(0.4)
    assert statistics.optimality_gap(scores, target=0.5) == pytest.approx(0.15)


def test_one_cell_of_one_seed_has_its_wilson_interval():
    k, n = np.array([[50]]), np.array([[64]])
    low, high = statistics.wilson_interval(k, n)
    got = statistics.mean_interval([k], [n], np.random.default_rng(0))
    np.testing.assert_allclose(got, [low.item(), high.item()])


def test_bootstrap_depends_on_the_generator_alone():
    rng = np.random.default_rng(1)
    n = np.full((5, 5), 64)
    k = rng.binomial(n, rng.random((5, 5)))
    first, second, other = (
        statistics.bootstrap_interval([k], [n], statistics.iqm, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert first == second != other
    assert first[0] < statistics.iqm([k / n]) < first[1]


def test_bootstrap_is_as_wide_as_theory_says():
    n = np.full((40, 1), 64)
    k = np.random.default_rng(2).binomial(n, 0.5)
    low, high = statistics.bootstrap_interval([k], [n], statistics.mean, np.random.default_rng(3), resamples=20_000)
    between = np.var(k / n) / 40  # resampled seeds
    within = np.mean(k / n * (1 - k / n) / n) / 40  # and their episodes
    assert high - low == pytest.approx(2 * 1.96 * (between + within) ** 0.5, rel=0.03)


def test_perfect_seeds_are_not_certain():
    n = np.full((5, 1), 64)
    assert statistics.bootstrap_interval([n], [n], statistics.mean, np.random.default_rng(0)) == (1.0, 1.0)
    low, high = statistics.mean_interval([n], [n], np.random.default_rng(0))
    assert high == 1.0
    assert low == pytest.approx(statistics.wilson_interval(5 * 64, 5 * 64)[0])


def test_intervals_of_a_mean_over_cells_cover_at_one_and_five_seeds():
    # Seeds that differ by what the episodes alone explain; docs/leaderboard.md has the table for others.
    rng = np.random.default_rng(4)
    p = np.array([0.95, 0.9, 0.7, 0.4, 0.1])
    for seeds, least, most in ((1, 0.9, 1.0), (5, 0.92, 1.0)):
        n = np.full((seeds, 5), 64)
        hits = 0
        for _ in range(60):
            low, high = statistics.mean_interval([rng.binomial(n, p)], [n], rng)
            hits += low <= p.mean() <= high
        assert least <= hits / 60 <= most
