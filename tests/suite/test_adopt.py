"""Policies of other code as runs."""

import io
import json

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from leaderboard import build, submit
from suite import adopt
from suite.errors import UserError
from suite.execute.lease import Claimant
from suite.execute.run_one import RunFailed
from suite.report import summary
from suite.runs.rundir import RunDir
from tests.helpers.toy_runs import pd_controller
from tests.leaderboard.test_verify import TEXTS


def arguments(tmp_path, **options):
    given = {"task": "toy-reach", "name": "spring", "env_steps": "0", "budget": "smoke", "out": str(tmp_path / "runs")}
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in (given | options).items()]
    return [str(tmp_path / "policy.safetensors"), *flags, "--physics", "physx", "--device", "cpu"]


def test_adopted_run_is_a_run(tmp_path):
    pd_controller(tmp_path / "policy.safetensors", 4.0)
    assert adopt.main(arguments(tmp_path, env_steps="5000")) == 0
    run = RunDir(tmp_path / "runs" / "0.1.0" / "toy-reach" / "spring" / "none-r0-torch-smoke" / "seed0")
    result = run.read_result()
    assert (result["algo"], result["env_steps"], result["overrides"]) == ("spring", 5000, {})
    assert result["success"]["g5"] > 0.9
    board = build.read(tmp_path / "runs")
    assert [row.entry.algo for row in board.results] == ["spring"]
    assert not board.skipped
    assert submit.pack([run.path], tmp_path / "b.zip", "open", TEXTS)[1] == 1
    with pytest.raises(UserError, match="closed division"):
        submit.pack([run.path], tmp_path / "c.zip", "closed", TEXTS)
    with pytest.raises(UserError, match="exists"):
        adopt.main(arguments(tmp_path))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"task": "toy"}, "unknown task"),
        ({"task": "toy-reach,toy-reach"}, "unknown task"),
        ({"name": "ppo"}, "suite's names"),
        ({"name": "<b>"}, "--name"),
        ({"env_steps": "-1"}, "--env-steps"),
        ({"seed": "-1"}, "--seed"),
        ({"env_steps": str(10**30)}, "--env-steps"),
        ({"seed": str(10**20)}, "--seed"),
        ({"budget": "huge"}, "unknown budget"),
        ({"task": "cartpole-balance"}, "observations"),
    ],
)
def test_bad_input(tmp_path, options, why):
    pd_controller(tmp_path / "policy.safetensors", 4.0)
    with pytest.raises(UserError, match=why):
        adopt.main(arguments(tmp_path, **options))
    assert not (tmp_path / "runs").exists()


def test_an_adoption_that_failed_is_repeated(tmp_path, monkeypatch, capsys):
    pd_controller(tmp_path / "policy.safetensors", 4.0)

    def fail(run, console):
        raise RunFailed("killed by SIGKILL")

    with monkeypatch.context() as patched:
        patched.setattr(adopt, "work", fail)
        assert adopt.main(arguments(tmp_path, env_steps="5000")) == 1
    assert "repeat the command" in capsys.readouterr().err
    (folder,) = (tmp_path / "runs").glob("*/*/*/*/seed0")
    lease = Claimant(folder).claim()
    with pytest.raises(UserError, match="another process works on"):
        adopt.main(arguments(tmp_path))
    lease.give_back()
    done = {}
    monkeypatch.setattr(adopt, "work", lambda run, console: done.update(vars(run)) or fail(run, console))
    assert adopt.main(arguments(tmp_path, env_steps="0")) == 1
    assert done == {"path": folder}
    assert not (folder / "progress.parquet").exists()


def test_what_is_no_policy(tmp_path):
    def refused(why):
        with pytest.raises(UserError, match=why):
            adopt.main(arguments(tmp_path))
        assert not (tmp_path / "runs").exists()

    file = tmp_path / "policy.safetensors"
    file.write_bytes(b"pickle")
    refused("not a policy file")
    save_file({}, file, {"gradus": "[1]"})
    refused("an object")
    header = {"format": 1, "kind": "discrete", "layers": [["linear", 6, 2]]}
    net = {"net.0.weight": torch.zeros(2, 6), "net.0.bias": torch.zeros(2)}
    save_file(net | {"actions": torch.zeros(2, 2).double()}, file, {"gradus": json.dumps(header)})
    refused("actions is float64")


def test_a_grade_without_a_return_is_shown():
    """All its episodes crashed, and result.json has null for their mean."""
    by_grade = {"success": {"g1": 0.0}, "return": {"g1": None}, "episodes": {"g1": 64}}
    with (console := Console(file=io.StringIO())).capture() as shown:
        console.print(summary.by_grade("toy-reach", by_grade))
    assert "none" in shown.get()
