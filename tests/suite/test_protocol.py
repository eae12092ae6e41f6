"""The evaluation protocol: its cells, the values in them, and a policy that is run through all of them."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import tasks
from baselines.policy_file import export_reference
from suite import protocol
from suite.protocol import MAGNITUDES, REFERENCE_GRADE, Protocol, at, cells, identity, rows
from suite.runs import evaluation
from tasks.spec import GRADES, Factor

SPEC = tasks.get("toy-reach")
QUICK = Protocol("toy-reach", "torch", "cpu", "quick", 8, 4, 2, seed=7)


@pytest.mark.parametrize("name", tasks.known())
def test_every_task_has_every_kind_of_cell(name):
    spec = tasks.get(name)
    table = cells(spec, "standard")
    ids = [cell.id for cell in table]
    assert len(set(ids)) == len(ids)
    assert ids[:5] == [f"nominal/{grade}" for grade in GRADES]
    assert ids == [cell.id for cell in cells(spec, "quick")]
    assert all(cell.grade == REFERENCE_GRADE for cell in table[5:])
    if spec.factors:
        assert len(table) == 5 + 5 * len(spec.factors) + len({f.category for f in spec.factors if not f.held_out}) + 2
        mixed = {cell.id: cell.factors for cell in table}
        assert set(mixed["all/mixed"]) == {f.name for f in spec.factors if not f.held_out}
        assert set(mixed["held_out/mixed"]) == {f.name for f in spec.factors if f.held_out}


def test_the_nominal_protocol_moves_no_factor():
    layout = rows(SPEC, dataclasses.replace(QUICK, protocol="nominal"))
    assert len(layout.cell) == 5 * 4
    assert (layout.factors == [factor.nominal for factor in SPEC.factors]).all()


def test_values_are_where_the_table_says():
    layout = rows(SPEC, QUICK)
    for index, cell in enumerate(layout.cells):
        values = layout.factors[layout.cell == index]
        assert len(values) == (4 if cell.id.startswith("nominal") else 2)
        for factor, column in zip(SPEC.factors, values.T, strict=True):
            low, high = factor.evaluation
            if factor.name not in cell.factors:
                assert (column == factor.nominal).all()
            elif cell.magnitude is None:
                assert ((column >= low) & (column <= high)).all()
            else:
                assert set(column) <= set(at(factor, cell.magnitude))


def test_the_largest_magnitude_is_beyond_every_training_level():
    for spec in map(tasks.get, tasks.names()):
        for factor in spec.factors:
            reached = at(factor, MAGNITUDES[-1])
            assert (min(*reached, factor.nominal), max(*reached, factor.nominal)) == pytest.approx(factor.evaluation)
            for low, high in factor.ranges.values():
                assert low >= factor.evaluation[0]
                assert high <= factor.evaluation[1]
                assert (low, high) != factor.evaluation


@pytest.mark.parametrize("magnitude", [0.0, -0.2, 1.2, float("nan")])
def test_a_magnitude_outside_the_protocol_is_refused(magnitude):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        at(SPEC.factors[0], magnitude)


def test_values_depend_on_the_seed_and_the_cell_alone():
    first = rows(SPEC, QUICK)
    again = rows(SPEC, dataclasses.replace(QUICK, engine="other", device="cuda:3"))
    assert np.array_equal(first.factors, again.factors)
    other = rows(SPEC, dataclasses.replace(QUICK, seed=8))
    assert not np.array_equal(first.factors, other.factors)
    longer = rows(SPEC, dataclasses.replace(QUICK, episodes_per_grade=16))
    assert np.array_equal(first.factors[first.cell > 4], longer.factors[longer.cell > 4])


def test_the_identity_changes_with_whatever_changes_the_episodes():
    same = identity(SPEC, dataclasses.replace(QUICK, engine="other", device="cuda:0"))
    assert same == identity(SPEC, QUICK)
    wider = dataclasses.replace(SPEC.factors[0], evaluation=(0.1, 5.0))
    others = [
        identity(dataclasses.replace(SPEC, factors=(wider, *SPEC.factors[1:])), QUICK),
        identity(SPEC, dataclasses.replace(QUICK, episodes_per_cell=8)),
        identity(SPEC, dataclasses.replace(QUICK, seed=8)),
        identity(SPEC, dataclasses.replace(QUICK, protocol="standard")),
    ]
    hashes = [found["sha256"] for found in others]
    assert len({same["sha256"], *hashes}) == 5
    assert same["version"] == protocol.VERSION


def test_a_new_factor_is_in_the_protocol_without_further_words():
    mine = Factor("tilt", "physical", "rad", 0.0, {"r1": (0.0, 0.1)}, (0.0, 0.3), effect="")
    spec = dataclasses.replace(SPEC, factors=(*SPEC.factors, mine))
    ids = [cell.id for cell in cells(spec, "quick")]
    assert [f"factor/tilt/{k}" for k in range(5)] == [name for name in ids if "tilt" in name]


def test_a_policy_is_run_through_all_cells(tmp_path):
    policy = tmp_path / "zero.safetensors"
    export_reference("zero", SPEC, policy)
    found = evaluation.evaluate(QUICK, policy, tmp_path / "log", lambda done, news: None)
    digest = evaluation.write(tmp_path / "episodes.parquet", found, QUICK, "zero")
    table = pq.read_table(tmp_path / "episodes.parquet").to_pylist()
    layout = rows(SPEC, QUICK)
    assert [row["cell"] for row in table] == [layout.cells[k].id for k in np.repeat(layout.cell, 2)]
    for k, factor in enumerate(SPEC.factors):
        ran_with = [row[f"factor.{factor.name}"] for row in table]
        assert ran_with == pytest.approx(np.repeat(layout.factors[:, k], 2), rel=1e-6)
    drifted = [row["return"] for row in table if row["cell"] == "factor/wind/4"]
    still = [row["return"] for row in table if row["cell"] == f"nominal/{REFERENCE_GRADE}"]
    assert max(drifted) < min(still), "the wind blows a policy away that does nothing"
    summary = evaluation.summary(found)
    assert set(summary["cells"]) == {cell.id for cell in layout.cells[5:]}
    result = {"suite_version": "0", "task": "toy-reach", "algo": "zero", "curriculum": "none", "seed": 0}
    result |= {"policy_sha256": "0" * 64, "engine": "x"}
    evaluation.write_record(tmp_path, QUICK, result, found, digest, 1.0, "again")
    record = json.loads((tmp_path / "evaluation.json").read_text())
    assert record["protocol"] == identity(SPEC, QUICK)
    assert record["episodes"] == dict.fromkeys(GRADES, 8)


def test_steps_over_a_safety_limit_are_counted_per_episode():
    from suite.runs.rollout import run_episodes
    from tasks.spec import SafetyLimit
    from tasks.toy.env import ToyReach

    spec = dataclasses.replace(SPEC, safety={"speed": SafetyLimit(0.5, "m/s", "of the point")})

    class Watched(ToyReach):
        def _step(self, action):
            *rest, extras = super()._step(action)
            extras["violations"] = {"speed": extras["final_obs"][:, 2:4].norm(dim=-1) > 0.5}
            return *rest, extras

    import torch

    env = Watched(spec, 4, "cpu")
    env.set_sampler(lambda env_ids: torch.zeros(len(env_ids)))
    east = torch.tensor([1.0, 0.0]).repeat(4, 1)
    found = []
    run_episodes(env, lambda obs: east, 2, 7, found.append)
    episodes = [row for row in found if "marker" not in row]
    # From rest at 4 m/s² the point is over 0.5 m/s after the third step of 0.05 s, until it leaves the arena.
    assert len(episodes) == 8
    assert all(row["violations"] == {"speed": row["length"] - 2} for row in episodes)
