"""The tests that decide whether two evaluations are of one policy."""

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from suite import reproduce
from suite.errors import UserError
from suite.report import compare
from suite.runs.rundir import RESULT_KEYS
from tasks.spec import GRADES


def test_sign_test_is_scipys():
    one = np.array([1.0, 2, 3, 4, 5, np.nan, 7])
    two = np.array([1.0, 1, 1, 1, 6, 1, np.nan])
    assert compare.sign_test(one, two) == pytest.approx(binomtest(3, 4).pvalue)
    assert compare.sign_test(one, one) == 1.0
    assert compare.sign_test(np.zeros(0), np.zeros(0)) == 1.0


def test_holm():
    assert compare.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert compare.holm([0.01, 0.04, 0.03, 0.2]) == pytest.approx([0.04, 0.09, 0.09, 0.2])  # steps down, monotone
    assert compare.holm([]) == []


def evaluated(rng, rates):
    """Success of episodes whose chances, which their factors give them, are `rates`."""
    return rng.random(len(rates)) < rates


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_equal_policies_are_rarely_said_to_differ(spread):
    """At a level of 5 % no more than 5 % (and noise) of true claims fail; episodes of an env share their factors."""
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(400):
        cells = []
        for i in range(5):
            rates = np.repeat(0.5 + spread * (rng.random(32) - 0.5), 2)
            success = tuple(evaluated(rng, rates) for _ in range(2))
            cells.append(compare.Cell(f"g{i}", success, tuple(s + rng.normal(0, 0.1, 64) for s in success)))
        failed += min(test.adjusted for test in compare.tests(cells)) <= 0.05
    assert failed <= 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)


def test_power_against_simulation():
    rng = np.random.default_rng(0)
    found = [
        compare.sign_test(evaluated(rng, np.full(64, 0.9)), evaluated(rng, np.full(64, 0.6))) <= 0.001
        for _ in range(2000)
    ]
    assert compare.power(0.9, 0.6, 64, 0.001) == pytest.approx(np.mean(found), abs=0.04)
    assert compare.power(0.5, 0.5, 64, 0.001) <= 0.001
    assert compare.power(1.0, 1.0, 64, 0.001) == 0.0
    drop = compare.detectable(64, 0.001)
    assert compare.power(0.5 + drop / 2, 0.5 - drop / 2, 64, 0.001) >= 0.9
    assert compare.power(0.505 + drop / 2, 0.495 - drop / 2, 64, 0.001) >= 0.9
    k = compare.edits(0.001)
    assert compare.sign_test(np.ones(k), np.zeros(k)) <= 0.001 < compare.sign_test(np.ones(k - 1), np.zeros(k - 1))


def test_edited_success_or_return_is_found():
    same, success = np.linspace(0, 1, 64), np.arange(64) < 30
    honest = compare.Cell("g1", (success, success), (same, same + np.resize([1e-3, -1e-3], 64)))
    lying = compare.Cell("g2", (np.arange(64) < 60, success), (same, same))
    shifted = compare.Cell("g3", (success, success), (same + 1e-3, same))
    found = compare.tests([honest, lying, shifted])
    refuted = {(test.cell, test.measure) for test in found if test.adjusted < compare.ALPHA}
    assert refuted == {("g2", "success"), ("all cells", "success"), ("g3", "return"), ("all cells", "return")}
    assert min(test.adjusted for test in compare.tests([honest])) > 0.05
    # Too little in any cell, and too much in all of them.
    small = [compare.Cell(f"c{i}", (np.arange(64) < 33, success), (same, same)) for i in range(12)]
    (first,) = [test for test in compare.tests(small) if test.adjusted < compare.ALPHA]
    assert first.cell == "all cells"


def test_the_mean_is_tested_and_not_only_the_signs():
    """A forger may lower as many returns a little as he raises much: a page shows the mean."""
    true = np.random.default_rng(0).normal(size=64)
    forged = true + np.resize([1e6, -1e-3], 64)
    assert compare.sign_test(forged, true) == 1.0
    success = (np.ones(64, bool), np.ones(64, bool))
    (first, *_) = compare.tests([compare.Cell("g1", success, (forged, true))])
    assert (first.measure, first.adjusted < compare.ALPHA) == ("return", True)
    huge = true + np.resize([1e300, -1e300], 64)
    assert compare.mean_test(huge, true) == 1.0
    assert compare.mean_test(np.full(4, np.inf), true[:4]) == 1.0


def test_equal_means_are_rarely_said_to_differ():
    rng = np.random.default_rng(0)
    for draw in (rng.normal, rng.standard_cauchy, lambda size: rng.exponential(size=size)):
        found = [compare.mean_test(draw(size=64), draw(size=64)) <= 0.05 for _ in range(400)]
        assert np.mean(found) <= 0.05


def test_violations_are_compared():
    same, success = np.zeros(64), np.ones(64, bool)
    counts = np.full(64, 40)
    hidden = compare.Cell("g1", (success, success), (same, same), {"cart_velocity": (0 * counts, counts)})
    few = np.where(np.arange(64) % 2, 0, 41)  # half of them hidden, half raised a little
    balanced = compare.Cell("g1", (success, success), (same, same), {"cart_velocity": (few, counts)})
    for cell in (hidden, balanced):
        (first, *_) = compare.tests([cell])
        assert first.measure == "violations of cart_velocity"
        assert first.adjusted < compare.ALPHA


def episodes(**columns):
    sound = {"engine": ["ovphysx"] * 4, "cell": ["nominal/g1"] * 4, "difficulty": [0.0, 0.5, 0.5, 1.0]}
    sound |= {"return": [1.0, 2.0, -3.0, float("nan")], "success": [True, False, True, False], "env": [0, 1, 2, 3]}
    return pa.table(sound | columns)


def test_what_the_protocol_gives_is_compared_on_every_machine():
    assert compare.other_layout(episodes(), episodes()) is None
    assert compare.other_layout(episodes(), episodes(difficulty=[0.0, 0.5 + 1e-8, 0.5, 1.0])) is None
    assert compare.other_layout(episodes(), episodes(success=[True] * 4, **{"return": [0.0] * 4})) is None
    for column, values in (
        ("engine", ["ovphysx"] * 3 + ["newton_mjwarp"]),
        ("cell", ["nominal/g2"] * 4),
        ("difficulty", [0.0, 0.5, 0.5, 0.9]),
        ("env", [0, 1, 3, 2]),
    ):
        assert compare.other_layout(episodes(), episodes(**{column: values})).startswith(column)
    assert "3 episodes" in compare.other_layout(episodes(), episodes().slice(1))


def test_a_single_return_of_another_size_is_found():
    assert compare.far_off(episodes(), episodes()) is None
    one = episodes(**{"return": [1.0, 2.0, 29.0, float("nan")]})
    assert compare.far_off(one, episodes()) is None
    assert "return of row 2 is 31" in compare.far_off(episodes(**{"return": [1.0, 2.0, 31.0, 4.0]}), episodes())
    nothing = episodes(**{"return": [float("nan")] * 4})
    assert compare.far_off(one, nothing) is None


def test_first_difference():
    one = pa.table({"return": [1.0, float("nan")], "grade": ["g1", "g2"]})
    assert compare.first_difference(one, one) is None
    other = pa.table({"return": [1.0 + 2**-52, float("nan")], "grade": ["g1", "g2"]})
    assert compare.first_difference(one, other).startswith("return of row 0 is 1.0 and 1.0000000000000002")
    assert "columns" in compare.first_difference(one, other.drop(["grade"]))
    assert "episodes" in compare.first_difference(one, other.slice(1))


def test_where_bits_must_be_equal():
    """A simulator that does not repeat itself must not make an honest submission look forged."""
    one = {"packages": {"torch": "2"}, "python": "3.12.1", "cpu": "A", "cpu_features": "0f", "cores": 2, "os": "O"}
    assert compare.why_not_bitwise("cartpole-balance", "ovphysx", one, one, ["A", "A"]) is None
    assert compare.why_not_bitwise("go2-velocity", "newton_mjwarp", one, one, ["A", "A"]) is None
    assert "contacts" in compare.why_not_bitwise("go2-velocity", "ovphysx", one, one, ["A", "A"])
    assert "CPU" in compare.why_not_bitwise("cartpole-balance", "ovphysx", one, one, ["A", "NVIDIA H100"])


def test_the_same_stack():
    one = {"packages": {"torch": "2"}, "python": "3.12.1", "cpu": "A", "cpu_features": "0f", "cores": 2, "os": "O"}
    assert compare.different_stack(one, dict(one), ["A", "A"]) is None
    assert "CPU" in compare.different_stack(one, dict(one), ["A", "NVIDIA H100"])
    assert "packages" in compare.different_stack(one, one | {"packages": {"torch": "3"}}, ["A", "A"])
    without = {key: value for key, value in one.items() if key != "cpu_features"}
    assert "cpu_features" in compare.different_stack(without, without, ["A", "A"])


def result(success=0.9, policy="a", **fields):
    grades = ("g1", "g2", "g3", "g4", "g5")
    machine = {"packages": {"torch": "2"}, "python": "3.12.1", "cpu": "A", "cpu_features": "0f", "cores": 2, "os": "O"}
    return {
        "task": "cartpole-balance",
        "engine": "ovphysx",
        "success": dict.fromkeys(grades, success),
        "episodes": dict.fromkeys(grades, 64),
        "policy_sha256": policy,
        "episodes_sha256": policy,
        "provenance": machine,
        "device": "A",
        **fields,
    }


def test_what_counts_as_reproduced():
    one = result()
    assert reproduce.judge(one, result(), [])["verdict"] == "reproduced"
    same_stack = reproduce.judge(one, result(policy="b"), [])
    assert (same_stack["verdict"], same_stack["bitwise"]) == ("not reproduced", False)
    elsewhere = {"policy": "b", "device": "GPU"}
    assert reproduce.judge(one, result(**elsewhere), [one])["verdict"] == "reproduced"
    assert reproduce.judge(one, result(0.4, **elsewhere), [one])["verdict"] == "not reproduced"
    seeds = [result(s) for s in (0.86, 0.88, 0.9, 0.92, 0.95)]
    assert reproduce.judge(one, result(0.85, **elsewhere), seeds)["verdict"] == "reproduced"
    assert reproduce.judge(one, result(0.5, **elsewhere), seeds)["verdict"] == "not reproduced"


def test_a_further_seed_is_where_it_is_expected():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        *seeds, new = (result(float(s)) for s in rng.normal(0.6, 0.05, 6))
        low, high = reproduce.expected(seeds)
        inside.append(low <= new["success"]["g1"] <= high)
    assert np.mean(inside) > 0.97
    low, high = reproduce.expected([result(1.0)] * 5)
    assert 0.95 < low < 1.0 == high


def test_reproduce_refuses_what_it_cannot_do(tmp_path):
    whole = {**dict.fromkeys(RESULT_KEYS), **result(), "suite_version": "0.1.0", "task": "toy-reach", "algo": "ppo"}
    whole |= {"budget": "smoke", "curriculum": "none", "overrides": {}, "seed": 0, "randomization": "r0"}
    whole |= {"engine": "torch", "command": "", "env_steps": 0, "wall_time_s": 0.0, "schema": 1}
    whole |= {"provenance": {"ended": "2026-01-01T00:00:00+00:00"}, "device": "A CPU", "evaluation_time_s": 1.0}
    whole |= {"success": dict.fromkeys(GRADES, 0.5), "episodes": dict.fromkeys(GRADES, 2)}
    whole |= dict.fromkeys(("policy_sha256", "episodes_sha256"), "0" * 64)
    file = tmp_path / "result.json"
    for change, why in (
        ({"suite_version": "0.0.1"}, "suite version"),
        ({"task": "no"}, "unknown task"),
        ({"algo": "no"}, "unknown learner 'no'"),
        ({"overrides": {"agent.no": 1}}, "no setting"),
        ({"overrides": {"agent.gamma": "high"}}, "gamma"),
        ({"overrides": {"train.init": "0" * 64}}, "another run's policy"),
    ):
        file.write_text(json.dumps(whole | change))
        with pytest.raises(UserError, match=why):
            reproduce.main([str(file), "--out", str(tmp_path / "out"), "--device", "cpu"])
    file.write_text("{}")
    with pytest.raises(UserError, match='no "schema"'):
        reproduce.main([str(file)])
    with pytest.raises(UserError, match="cannot be read"):
        reproduce.main([str(tmp_path) + "/no"])
    assert list(tmp_path.iterdir()) == [file]
