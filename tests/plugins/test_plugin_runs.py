"""An algorithm and a curriculum of another package: listed, trained, resumed, evaluated."""

import json

import pytest

TRAIN = ("--task", "toy-reach", "--budget", "smoke", "--device", "cpu", "train.env_steps=8192", "train.checkpoints=4")


@pytest.fixture(scope="session")
def trained(command, tmp_path_factory):
    """The run directory of a training with both."""
    out = tmp_path_factory.mktemp("runs")
    code, _, errors = command("suite.run", *TRAIN, "--algo", "clipped-a2c", "--curriculum", "sweep", "--out", out)
    assert code == 0, errors
    (result,) = out.rglob("result.json")
    return result.parent


def test_a_run_with_parts_of_a_package_is_complete(trained):
    result = json.loads((trained / "result.json").read_text())
    assert (result["algo"], result["curriculum"]) == ("clipped-a2c", "sweep")
    assert result["env_steps"] >= 8192
    assert (trained / "curriculum.parquet").exists()


def test_all_means_the_parts_of_gradus(command, tmp_path):
    code, planned, errors = command("suite.run", *TRAIN, "--algo", "all", "--dry-run", "--out", tmp_path)
    assert code == 0, errors
    assert "ppo" in planned
    assert "clipped-a2c" not in planned


def test_settings_of_a_package_are_checked(command, tmp_path):
    asked = [*TRAIN, "--algo", "clipped-a2c", "--curriculum", "sweep", "--out", tmp_path]
    for setting, said in (
        ("agent.advantage_clip=0", "agent.advantage_clip=0.0: expected positive"),
        ("agent.advantage_clap=1", "nearest: 'agent.advantage_clip'"),
        ("curriculum.pace=-1", "curriculum.pace=-1.0: expected positive"),
    ):
        code, _, errors = command("suite.run", *asked, setting)
        assert (code, errors.count("\n")) == (2, 1), errors
        assert said in errors


def test_the_same_policy_is_evaluated_again(command, trained):
    code, printed, errors = command("suite.evaluate", trained, "--device", "cpu")
    assert code == 0, errors
    assert "the episodes are the same as those recorded by the run" in printed
