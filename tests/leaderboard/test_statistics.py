import numpy as np
import pytest
from rliable import library as rly
from rliable import metrics
from scipy import stats

from leaderboard.stats import statistics


def strata(seeds, tasks=3, grades=5):
    """Scores with ties, as rates of 16 episodes are."""
    rng = np.random.default_rng(seeds)
    return [rng.integers(0, 17, (seeds, grades)) / 16 for _ in range(tasks)]


def as_matrix(scores):
    """As rliable has them: runs by tasks, where a grade of a task is a task."""
    return np.concatenate(scores, axis=1)


@pytest.mark.parametrize("seeds", [1, 2, 5, 7, 20])
def test_the_mean_is_rliables(seeds):
    scores = strata(seeds)
    matrix = as_matrix(scores)
    assert statistics.mean(scores) == pytest.approx(metrics.aggregate_mean(matrix))


@pytest.mark.parametrize(("seeds", "others"), [(5, 5), (5, 7), (1, 3)])
def test_probability_of_improvement_is_rliables_and_scipys(seeds, others):
    x, y = strata(seeds), strata(others)
    got = statistics.probability_of_improvement(x, y)
    assert got == pytest.approx(metrics.probability_of_improvement(as_matrix(x), as_matrix(y)))
    one = [x[0][:, :1]], [y[0][:, :1]]
    u = stats.mannwhitneyu(one[0][0][:, 0], one[1][0][:, 0]).statistic
    assert statistics.probability_of_improvement(*one) == pytest.approx(u / (seeds * others))


def test_probability_of_improvement_counts_ties_half_and_is_complementary():
    x, y = strata(5), strata(7)
    assert statistics.probability_of_improvement(x, x) == pytest.approx(0.5)
    both = statistics.probability_of_improvement(x, y) + statistics.probability_of_improvement(y, x)
    assert both == pytest.approx(1)


def test_performance_profile_is_rliables():
    scores = strata(5)
    thresholds = np.linspace(0, 1, 11)
    expected = [rly.run_score_deviation(as_matrix(scores), t) for t in thresholds]
    np.testing.assert_allclose(statistics.performance_profile(scores, thresholds), expected)


def test_statistics_keep_leading_axes():
    scores = np.random.default_rng(0).random((4, 3, 5))
    thresholds = np.linspace(0, 1, 5)
    for statistic in (
        statistics.mean,
        lambda s: statistics.performance_profile(s, thresholds),
    ):
        each = [statistic([s]) for s in scores]
        np.testing.assert_allclose(statistic([scores]), each)


def test_a_task_with_more_seeds_weighs_no_more_in_the_mean():
    assert statistics.mean([np.ones((9, 5)), np.zeros((1, 5))]) == pytest.approx(0.5)


def test_cvar_is_the_mean_of_the_worst():
    values = np.random.default_rng(0).permutation(np.arange(20.0))
    assert statistics.cvar(values, 0.1) == pytest.approx(0.5)  # of 0 and 1
    assert statistics.cvar(values, 0.125) == pytest.approx((0 + 1 + 2 * 0.5) / 2.5)  # the third counts half
    assert statistics.cvar(values, 1.0) == pytest.approx(values.mean())
    assert statistics.cvar(np.array([0.3]), 0.1) == pytest.approx(0.3)
    np.testing.assert_allclose(statistics.cvar(np.stack([values, values + 1]), 0.1), [0.5, 1.5])
    for bad in (0, 1.5):
        with pytest.raises(ValueError, match="fraction"):
            statistics.cvar(values, bad)
