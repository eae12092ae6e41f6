"""The tests that decide whether two evaluations are of one policy."""

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import fisher_exact

from suite import compare, reproduce
from suite.errors import UserError
from suite.rundir import RESULT_KEYS


@pytest.mark.parametrize(("k1", "k2", "n1", "n2"), [(60, 40, 64, 64), (0, 0, 8, 8), (64, 64, 64, 64), (5, 30, 16, 64)])
def test_fisher_is_scipys(k1, k2, n1, n2):
    expected = fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue
    assert compare.fisher(k1, k2, n1, n2) == pytest.approx(expected, rel=1e-9)
    assert compare._p_values(n1, n2)[k1, k2] == pytest.approx(expected, rel=1e-9)


def test_stratified_of_one_stratum_is_the_doubled_tail():
    low, pmf = compare._hypergeometric(50, 64, 64)
    assert compare.stratified([(35, 15)], [(64, 64)]) == pytest.approx(2 * pmf[35 - low :].sum())
    # A difference too small for any cell alone is seen over all of them.
    small = [(58, 50)] * 12
    assert compare.fisher(58, 50, 64, 64) > 0.05
    assert compare.stratified(small, [(64, 64)] * 12) < 1e-5


def test_holm():
    assert compare.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert compare.holm([]) == []


@pytest.mark.parametrize("rate", [0.5, 0.9, 1.0])
def test_equal_policies_are_rarely_said_to_differ(rate):
    """At a level of 5 %, where there is something to count, no more than 5 % (and noise) of true claims fail."""
    rng = np.random.default_rng(int(10 * rate))
    failed = 0
    for _ in range(300):
        cells = []
        for i in range(5):
            k = rng.binomial(32, rate, 2)
            returns = tuple(rng.normal(size=(2, 32)).round(1))
            cells.append(compare.Cell(f"g{i}", tuple(map(int, k)), (32, 32), returns))
        failed += min(test.adjusted for test in compare.tests(cells)) <= 0.05
    assert failed <= 300 * 0.05 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_power_against_simulation():
    rng = np.random.default_rng(0)
    k1, k2 = rng.binomial(64, 0.9, 4000), rng.binomial(64, 0.6, 4000)
    found = (compare._p_values(64, 64)[k1, k2] <= 0.001).mean()
    assert compare.power(0.9, 0.6, 64, 64, 0.001) == pytest.approx(found, abs=0.03)
    assert compare.power(0.5, 0.5, 64, 64, 0.001) <= 0.001
    drop = compare.detectable(64, 64, 0.001)
    assert compare.power((1 + drop) / 2, (1 - drop) / 2, 64, 64, 0.001) >= 0.9


def test_edited_success_or_return_is_found():
    same = np.linspace(0, 1, 64)
    honest = compare.Cell("g1", (60, 58), (64, 64), (same, same + 1e-3))
    lying = compare.Cell("g2", (60, 20), (64, 64), (same, same))
    shifted = compare.Cell("g3", (60, 58), (64, 64), (same + 0.7, same))
    first, second, *_ = compare.tests([honest, lying, shifted])
    assert (first.cell, first.measure) == ("g3", "return")
    assert (second.cell, second.measure) == ("g2", "success")
    assert max(first.adjusted, second.adjusted) < compare.ALPHA
    assert min(test.adjusted for test in compare.tests([honest])) > 0.05


def test_first_difference():
    one = pa.table({"return": [1.0, float("nan")], "grade": ["g1", "g2"]})
    assert compare.first_difference(one, one) is None
    other = pa.table({"return": [1.0 + 2**-52, float("nan")], "grade": ["g1", "g2"]})
    assert compare.first_difference(one, other).startswith("return of row 0 is 1.0 and 1.0000000000000002")
    assert "columns" in compare.first_difference(one, other.drop(["grade"]))
    assert "episodes" in compare.first_difference(one, other.slice(1))


def test_the_same_stack():
    one = {"packages": {"torch": "2"}, "python": "3.12.1", "cpu": "A", "cpu_features": "0f"}
    assert compare.different_stack(one, dict(one), ["A", "A"]) is None
    assert "CPU" in compare.different_stack(one, dict(one), ["A", "NVIDIA H100"])
    assert "packages" in compare.different_stack(one, one | {"packages": {"torch": "3"}}, ["A", "A"])
    without = {key: value for key, value in one.items() if key != "cpu_features"}
    assert "cpu_features" in compare.different_stack(without, without, ["A", "A"])


def result(success=0.9, policy="a", **fields):
    grades = ("g1", "g2", "g3", "g4", "g5")
    machine = {"packages": {"torch": "2"}, "python": "3.12.1", "cpu": "A", "cpu_features": "0f"}
    return {
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
    whole |= {"engine": "torch", "command": ""}
    file = tmp_path / "result.json"
    for change, why in (
        ({"suite_version": "0.0.1"}, "suite version"),
        ({"task": "no"}, "unknown task"),
        ({"algo": "no"}, "unknown algorithm"),
        ({"overrides": {"agent.no": 1}}, "no setting"),
        ({"overrides": {"agent.gamma": "high"}}, "gamma"),
    ):
        file.write_text(json.dumps(whole | change))
        with pytest.raises(UserError, match=why):
            reproduce.main([str(file), "--out", str(tmp_path / "out"), "--device", "cpu"])
    file.write_text("{}")
    with pytest.raises(UserError, match='no "suite_version"'):
        reproduce.main([str(file)])
    with pytest.raises(UserError, match="cannot be read"):
        reproduce.main([str(tmp_path) + "/no"])
    assert list(tmp_path.iterdir()) == [file]
