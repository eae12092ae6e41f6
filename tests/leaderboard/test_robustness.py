import numpy as np
import pytest

from leaderboard.board import board, perturbed
from leaderboard.stats import robustness
from leaderboard.stats.robustness import Counts
from tests.helpers.synthetic_runs import FACTORS, write_run

NAMES = (
    *("all/mixed", "category/sensor", "factor/mass/0", "factor/mass/1", "factor/mass/2"),
    *("factor/noise/0", "factor/noise/1", "held_out/mixed", "nominal/g1", "nominal/g3"),
)
RATES = np.array([0.2, 0.4, 0.6, 0.8, 0.4, 0.5, 0.1, 0.3, 0.9, 0.8])


def counts(seeds=5, episodes=100):
    rng = np.random.default_rng(0)
    n = np.full((seeds, len(NAMES)), episodes)
    p = np.clip(RATES + rng.normal(0, 0.05, (seeds, 1)), 0, 1)
    outcomes = tuple((rng.random((seeds, episodes)) < p[:, [i]]).astype(float) for i in range(len(NAMES)))
    violations = {"speed": rng.poisson(2.0, n.shape) * episodes}
    return Counts(NAMES, outcomes, n, "g3", violations)


def test_retention_is_perturbed_by_nominal_at_the_reference_grade():
    kept = {p: float(robustness.retention(RATES, NAMES, p, "g3")) for p in ("factor/mass", "category", "held_out")}
    assert kept == pytest.approx({"factor/mass": 0.6 / 0.8, "category": 0.4 / 0.8, "held_out": 0.3 / 0.8})
    assert np.isnan(robustness.retention(RATES * 0, NAMES, "held_out", "g3"))


def test_area_is_under_success_from_nominal_to_the_last_magnitude():
    expected = (0.5 * 0.8 + 0.6 + 0.8 + 0.5 * 0.4) / 3  # trapezoids over 0, 1/3, 2/3 and 1
    assert robustness.area(RATES, NAMES, "mass", "g3") == pytest.approx(expected)
    assert robustness.area(np.ones_like(RATES), NAMES, "noise", "g3") == pytest.approx(1)


def test_worst_factor_and_cvar():
    assert robustness.factors(NAMES) == ["mass", "noise"]
    assert robustness.worst_factor(RATES, NAMES, "g3") == pytest.approx(0.3 / 0.8)
    assert robustness.cvar_of_cells(RATES) == pytest.approx(0.1)  # the worst of ten


def test_functions_keep_leading_axes():
    batch = np.stack([RATES, RATES / 2])
    for f in (
        lambda r: robustness.retention(r, NAMES, "factor/mass", "g3"),
        lambda r: robustness.area(r, NAMES, "mass", "g3"),
        lambda r: robustness.worst_factor(r, NAMES, "g3"),
        robustness.cvar_of_cells,
    ):
        np.testing.assert_allclose(f(batch), [f(batch[0]), f(batch[1])])


def test_intervals_hold_the_estimate_and_depend_on_the_generator_alone():
    c = counts()
    for _ in range(2):
        draws = robustness.resample(c, np.random.default_rng(3))
        found = robustness.interval(lambda r: robustness.retention(r, NAMES, "factor/mass", "g3"), c, draws)
    again = robustness.resample(c, np.random.default_rng(3))
    np.testing.assert_array_equal(draws, again)
    value, low, high = found
    assert low < value < high
    assert value == pytest.approx(0.75, abs=0.15)


def test_a_single_seed_has_an_estimate_and_no_interval():
    c = counts(1)
    draws = robustness.resample(c, np.random.default_rng(3))
    value, low, high = robustness.interval(lambda r: robustness.retention(r, NAMES, "factor/mass", "g3"), c, draws)
    assert value == pytest.approx(0.75, abs=0.15)
    assert np.isnan([low, high]).all()


def test_violations_are_per_episode():
    c = counts()
    value, low, high = robustness.violations_per_episode(c, "speed", np.arange(7))
    assert value == pytest.approx(2, abs=0.5)
    assert low < value < high
    assert np.isnan(robustness.violations_per_episode(counts(1), "speed", np.arange(7))[1])


def test_rows_of_real_files(tmp_path):
    for seed in range(3):
        write_run(tmp_path, algo="ppo", seed=seed, skill=4, perturbed=True, engines=("newton_mjwarp",))
        write_run(tmp_path, algo="sac", seed=seed, skill=4)  # evaluated before there was a protocol
    made = board.load(tmp_path)
    (row,) = perturbed.robust_rows(made.results, made.engines)
    assert row.reference == "g3"
    assert [f.name for f in row.factors] == sorted(FACTORS)
    assert row.worst.name == "action_delay"
    assert row.worst_retention.low <= row.worst.retention.value <= row.worst_retention.high
    mass = next(f for f in row.factors if f.name == "mass")
    assert mass.values == FACTORS["mass"][1]
    assert mass.success[1].value > mass.success[4].value
    assert set(row.retention) == {
        *(f"category/{c}" for c in ("physical", "dynamics", "sensor", "disturbance")),
        *("all/mixed", "held_out/mixed", "engine/newton_mjwarp"),
    }
    (violations,) = row.violations
    assert violations.limit == "joint_speed"
    assert violations.perturbed.value > violations.nominal.value
    across = row.retention["engine/newton_mjwarp"]
    engine = made.engines[0]
    assert across.value == pytest.approx(engine.other.mean.value / engine.own.mean.value)


def test_an_entry_that_never_succeeds_has_no_retention(tmp_path):
    write_run(tmp_path, skill=-50, perturbed=True)
    made = board.load(tmp_path)
    (row,) = perturbed.robust_rows(made.results, made.engines)
    assert np.isnan(row.retention["all/mixed"].value)
    assert row.worst is None
    assert row.cvar.value == 0
