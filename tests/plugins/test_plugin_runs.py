"""An algorithm and a curriculum of another package: listed, trained, resumed, evaluated."""

import json

from tests.helpers.plugin import TRAIN


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


def test_what_a_package_brings_is_listed_with_its_version(command):
    code, printed, errors = command("suite.list", "--json")
    assert code == 0, errors
    parts = json.loads(printed)["parts"]
    assert parts["algorithm"]["clipped-a2c"] == parts["curriculum"]["sweep"] == "gradus-plugin-example 0.1.0"
    assert parts["algorithm"]["ppo"] is None
    _, printed, _ = command("suite.list")
    assert "algorithm clipped-a2c" in printed.rpartition("from gradus-plugin-example 0.1.0: ")[2]


def test_provenance_names_distribution_and_version(trained):
    provenance = json.loads((trained / "provenance.json").read_text())
    whose = {"distribution": "gradus-plugin-example", "version": "0.1.0"}
    assert provenance["parts"] == [
        {"kind": "algorithm", "name": "clipped-a2c", **whose},
        {"kind": "curriculum", "name": "sweep", **whose},
    ]


def test_without_the_package_its_run_is_told_in_one_line(command, trained):
    for arguments in (("suite.evaluate", trained), ("suite.reproduce", trained)):
        code, _, errors = command(*arguments, sites=())
        assert (code, errors.count("\n")) == (2, 1), errors
        assert "algorithm 'clipped-a2c' is of gradus-plugin-example 0.1.0, which is not installed" in errors


def test_a_training_starts_from_the_policy(command, trained, tmp_path):
    command_line = [*TRAIN, "--algo", "clipped-a2c", "--init", trained, "--out", tmp_path]
    code, _, errors = command("suite.run", *command_line)
    assert code == 0, errors
    (result,) = tmp_path.rglob("result.json")
    assert json.loads(result.read_text())["overrides"]["train.init"]


def test_a_training_that_was_interrupted_ends_as_one_that_was_not(command, tmp_path):
    """Its counter and the teacher's state are in the checkpoint."""
    out = [tmp_path / "whole", tmp_path / "parts"]
    with_both = [*TRAIN, "--algo", "clipped-a2c", "--curriculum", "sweep"]
    code, _, errors = command("suite.run", *with_both, "--out", out[0])
    assert code == 0, errors
    code, _, errors = command("tests.plugins.stop_at_a_checkpoint", *with_both, "--out", out[1])
    assert code == 0, errors
    assert not list(out[1].rglob("result.json"))
    code, _, errors = command("suite.run", *with_both, "--out", out[1])
    assert code == 0, errors
    (log,) = out[1].rglob("worker.log")
    assert "continuing from the checkpoint at" in log.read_text()
    one, two = (json.loads(next(folder.rglob("result.json")).read_text()) for folder in out)
    assert one["policy_sha256"] == two["policy_sha256"]
