import numpy as np
import pytest
from scipy import stats

from leaderboard.stats import intervals, statistics


def rng(seed=0):
    return np.random.default_rng(seed)


def counts(seeds=5, grades=5, spread=0.2, generator=None):
    """Counts of seeds that differ, of 64 episodes."""
    generator = generator or rng(1)
    n = np.full((seeds, grades), 64)
    return generator.binomial(n, np.clip(0.6 + spread * generator.standard_normal((seeds, 1)), 0, 1)), n


@pytest.mark.parametrize(("k", "n"), [(0, 64), (1, 1), (3, 7), (50, 64), (64, 64), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(k, n, confidence):
    low, high = intervals.wilson_interval(np.array([k]), np.array([n]), confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=1e-12)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="between 0 and episodes"):
        intervals.wilson_interval(np.array([k]), np.array([n]))


def test_one_seed_has_wilsons_interval():
    k, n = np.array([[50, 64, 0]]), np.full((1, 3), 64)
    np.testing.assert_allclose(intervals.success_interval(k, n), intervals.wilson_interval(k[0], n[0]))


def test_seeds_that_agree_have_wilsons_interval_of_all_episodes():
    k, n = np.full((5, 1), 64), np.full((5, 1), 64)
    low, high = intervals.success_interval(k, n)
    wilson = intervals.wilson_interval(np.array([320]), np.array([320]))
    np.testing.assert_allclose([low, high], wilson)


def test_seeds_that_differ_widen_the_interval_to_students():
    k, n = counts(seeds=200, grades=1)
    low, high = intervals.success_interval(k, n)
    student = stats.t.interval(0.95, 199, np.mean(k / n), stats.sem(k[:, 0] / n[:, 0]))
    np.testing.assert_allclose([low[0], high[0]], student, atol=2e-3)  # many seeds: Wilson's form comes to this


def test_success_intervals_of_a_batch_are_those_of_its_members():
    batch = [counts(generator=rng(seed)) for seed in range(3)]
    for axis in (None, -1):
        together = intervals.success_interval(np.stack([k for k, _ in batch]), np.stack([n for _, n in batch]), axis)
        alone = [intervals.success_interval(k, n, axis) for k, n in batch]
        np.testing.assert_allclose(np.stack(together, -1), np.stack([np.stack(a, -1) for a in alone]))


def test_the_spread_of_many_tasks_has_more_degrees_of_freedom():
    one = intervals.seed_spread(*counts(), axis=-1)
    many = intervals.combine([one] * 10)
    assert one.df == pytest.approx(4)
    assert many.df == pytest.approx(40)
    assert many.variance == pytest.approx(one.variance / 10)


def test_bootstrap_depends_on_the_generator_alone():
    k, n = counts()
    spread = intervals.seed_spread(k, n, axis=-1)
    point = float(statistics.iqm([k / n]))
    first, second, other = (statistics.iqm(intervals.resample([k], [n], rng(seed))) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    low, high = intervals.bootstrap_interval(point, first, spread)
    assert low < point < high


def test_bootstrap_of_a_mean_is_students_interval():
    k, n = counts(seeds=10, grades=1)
    point = float(statistics.mean([k / n]))
    draws = statistics.mean(intervals.resample([k], [n], rng(), resamples=50_000))
    low, high = intervals.bootstrap_interval(point, draws, intervals.seed_spread(k, n, axis=-1))
    student = stats.t.interval(0.95, 9, point, stats.sem(k[:, 0] / n[:, 0]))
    assert high - low == pytest.approx(student[1] - student[0], rel=0.05)


def test_a_single_seed_is_resampled_by_its_episodes():
    k, n = np.array([[32]]), np.array([[64]])
    draws = intervals.resample([k], [n], rng(), resamples=20_000)[0]
    assert draws.std() == pytest.approx((0.25 / 64) ** 0.5, rel=0.05)


def test_difference_is_scipys_welch_test():
    (k, n), (j, m) = counts(seeds=6, grades=1), counts(seeds=9, grades=1, generator=rng(5))
    x, y = k[:, 0] / n[:, 0], j[:, 0] / m[:, 0]
    spreads = [intervals.seed_spread(a, b, axis=-1) for a, b in ((k, n), (j, m))]
    got = intervals.difference(x.mean(), y.mean(), *spreads)
    expected = stats.ttest_ind(x, y, equal_var=False)
    assert got.p == pytest.approx(expected.pvalue)
    np.testing.assert_allclose([got.low, got.high], expected.confidence_interval(0.95))


def test_a_row_does_not_differ_from_itself():
    k, n = counts()
    spread = intervals.seed_spread(k, n, axis=-1)
    assert intervals.difference(0.5, 0.5, spread, spread).p == pytest.approx(1)


def test_improvement_interval_holds_the_estimate():
    scores = [[k / n for k, n in (counts(generator=rng(s + t)) for t in range(3))] for s in (0, 50)]
    value = statistics.probability_of_improvement(*scores)
    low, high = intervals.improvement_interval(*scores, rng())
    assert 0 <= low < value < high <= 1


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_intervals_of_a_grade_cover(seeds, spread):
    # Seeded, so the same on every machine; benchmarks/interval_coverage.py has the table of the docs.
    generator, repetitions, mean = rng(3), 2000, 0.8
    n = np.full((repetitions, seeds, 1), 64)
    p = np.full(n.shape, mean)
    if spread:
        size = mean * (1 - mean) / spread**2 - 1
        p = generator.beta(mean * size, (1 - mean) * size, n.shape)
    low, high = intervals.success_interval(generator.binomial(n, p), n)
    assert 0.93 <= np.mean((low <= mean) & (mean <= high)) <= 0.975
