import numpy as np
import pytest
from scipy import stats

from leaderboard.stats import intervals, statistics
from leaderboard.stats.intervals import Spread
from suite.report.wilson import wilson_interval


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("k", "n"), [(0, 64), (1, 1), (3, 7), (50, 64), (64, 64), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(k, n, confidence):
    low, high = wilson_interval(np.array([k]), np.array([n]), confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=1e-12)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="between 0 and episodes"):
        wilson_interval(np.array([k]), np.array([n]))


def test_the_spread_of_many_tasks_has_more_degrees_of_freedom():
    one = Spread(np.array(0.01), np.array(4.0))
    many = intervals.combine([one] * 10)
    assert many.df == pytest.approx(40)
    assert many.variance == pytest.approx(one.variance / 10)
    unknown = intervals.combine([one, Spread(np.array(np.nan), np.array(np.nan))])
    assert np.isnan(unknown.variance)


def test_bootstrap_of_a_mean_is_students_interval():
    values = rng(1).normal(0.5, 0.1, 10)
    (drawn,) = intervals.resample_seeds([values], rng(), resamples=50_000)
    draws = drawn.mean(axis=-1)
    spread = Spread(np.array(values.var(ddof=1) / 10), np.array(9.0))
    low, high = intervals.bootstrap_interval(values.mean(), draws, intervals.stretch(spread, draws))
    student = stats.t.interval(0.95, 9, values.mean(), stats.sem(values))
    np.testing.assert_allclose([low, high], student, atol=0.1 * (student[1] - student[0]))
    assert high - low == pytest.approx(student[1] - student[0], rel=0.05)


def test_difference_is_students_test():
    x = rng(5).normal(0.1, 0.2, 9)
    got = intervals.difference(x.mean(), Spread(np.array(x.var(ddof=1) / 9), np.array(8.0)))
    expected = stats.ttest_1samp(x, 0)
    assert got.p == pytest.approx(expected.pvalue)
    np.testing.assert_allclose([got.low, got.high], expected.confidence_interval(0.95))


def test_a_row_does_not_differ_from_itself_and_one_seed_has_no_test():
    assert intervals.difference(0.0, Spread(np.array(0.01), np.array(4.0))).p == pytest.approx(1)
    unknown = intervals.difference(0.5, Spread(np.array(np.nan), np.array(np.nan)))
    assert np.isnan([unknown.low, unknown.high, unknown.p]).all()
    assert not unknown.significant


def test_improvement_interval_holds_the_estimate():
    scores = [[rng(s + t).random((5, 5)) for t in range(3)] for s in (0, 50)]
    value = statistics.probability_of_improvement(*scores)
    low, high = intervals.improvement_interval(*scores, rng())
    assert 0 <= low < value < high <= 1
