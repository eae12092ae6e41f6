"""Texts are taken as they are, and a damaged or hostile run folder costs one line and one run."""

import json
import os

import pytest
from omegaconf import OmegaConf

import tasks
from baselines import config as agents
from baselines.learner import warm_start
from suite import reproduce, run, status
from suite.cli import arguments
from suite.errors import UserError, exit_code, shown
from suite.execute import run_one
from suite.plan import config, values
from suite.plan.matrix import plan
from suite.runs import policies
from suite.runs.rundir import RESULT_KEYS, RunDir
from tasks.spec import GRADES


def header(content):
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text


NESTED = b"[" * 100_000
DEEP = len(NESTED).to_bytes(8, "little") + NESTED


def jobs(out, *argv):
    return plan(arguments.parse(["--wandb", "disabled", "--device", "cpu", "--out", str(out), *argv])[0])


@pytest.mark.parametrize("text", ["a${b}", "\\${b}", "${oc.env:HOME}", "\\\\${b} $${c}", "${", "???", "a\nb: ${c}"])
def test_a_path_is_no_interpolation(tmp_path, text):
    (job,) = jobs(tmp_path / text, "--task", "toy-reach", "--algo", "ppo")
    job.run.path.mkdir(parents=True)
    config.save(job.config("cpu"), job.run)
    loaded = config.load(job.run)
    assert loaded.command == job.setting["command"]
    assert config.read(job.run) == job.content("cpu")
    assert config.saved_fingerprint(job.run) == config.fingerprint(job.content("cpu"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"\xff\xfe" + file.read_bytes()),
        lambda file: file.write_text("# other\n" + "[" * 100_000),
        lambda file: (file.unlink(), os.mkfifo(file)),
        lambda file: (file.unlink(), file.symlink_to("/dev/zero")),
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["not UTF-8", "nested", "FIFO", "link", "folder"],
)
def test_a_damaged_run_is_named_and_stops_no_other(tmp_path, capsys, monkeypatch, damage):
    argv = ["--task", "toy-reach", "--algo", "ppo", "--seeds", "2", "--budget", "smoke", "--device", "cpu"]
    argv += ["--wandb", "disabled", "--out", str(tmp_path)]
    first, _ = plan(arguments.parse(argv)[0])
    first.run.path.mkdir(parents=True)
    config.save(first.config("cpu"), first.run)
    damage(first.run.config)
    done = []
    monkeypatch.setattr("suite.execute.scheduler.execute", lambda jobs, *rest: done.extend(jobs) or [])
    assert run.main(argv) == 1
    assert [job.seed for job in done] == [1]
    assert f"left out: {first.run.config} cannot be read" in capsys.readouterr().err
    assert run.main([*argv, "--dry-run"]) == 1


def test_a_name_like_a_seed_is_no_run(tmp_path, capsys):
    (job,) = jobs(tmp_path, "--task", "toy-reach", "--algo", "ppo")
    for name in ("seed0", "seed0.bak", "seed0 (copy)", "seed", "seed-1"):
        (job.run.path.parent / name).mkdir(parents=True)
    planned = job.run.path.parents[3] / ".plans"
    planned.mkdir()
    runs = [["0.1.0/toy-reach/ppo/../seed1", 1], ["0.1.0/a/b/c/seed9", -1], ["seed0", 1], [1, 2], 3, [[], {}]]
    (planned / "a.json").write_text(json.dumps({"runs": runs}))
    (planned / "b.json").write_text('{"runs": 5}')
    (planned / "c.json").write_text("[" * 100_000)
    assert [found.job.path for found in status.look(tmp_path)] == [str(job.run.path.relative_to(tmp_path))]
    assert status.main([str(tmp_path)]) == 1


def test_a_result_of_a_stranger_writes_nothing_elsewhere(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "work", lambda *args: pytest.fail("started"))
    result = dict.fromkeys(RESULT_KEYS) | {"suite_version": "0.1.0", "task": "toy-reach", "algo": "zero", "seed": 0}
    result |= {"curriculum": "none", "engine": "torch", "budget": "smoke", "overrides": {}, "env_steps": 0}
    result |= {"wall_time_s": 0.0, "success": dict.fromkeys(GRADES, 0.5), "episodes": dict.fromkeys(GRADES, 2)}
    result |= {"policy_sha256": "0" * 64, "episodes_sha256": "0" * 64, "randomization": "r0", "schema": 1}
    result |= {"provenance": {"ended": "2026-01-01T00:00:00+00:00"}, "device": "A CPU", "evaluation_time_s": 1.0}
    result |= {"command": ""}
    for changed, said in (
        ({"randomization": "r0/../../../../escaped/r0"}, '"randomization" in result.json has to match'),
        ({"randomization": "r7"}, "randomises nothing at level r7"),
        ({"overrides": {"agent.x": {"a": 1}}}, '"agent.x" in "overrides" in result.json: expected'),
        ({"overrides": {"agent.x": 1}}, "zero has no setting agent.x"),
        ({"seed": "0"}, '"seed" in result.json has to be a valid integer'),
        ({"engine": "ovphysx"}, "unknown engine 'ovphysx'"),
        ({"success": {"g1": 1.0}}, 'result.json has no "g2" in "success"'),
    ):
        (tmp_path / "result.json").write_text(json.dumps(result | changed))
        argv = [str(tmp_path / "result.json"), "--device", "cpu", "--out", str(tmp_path / "deep" / "out")]
        assert exit_code("suite.reproduce", lambda argv=argv: reproduce.main(argv)) == 2
        assert said in capsys.readouterr().err
        assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_recorded_command_is_printed_without_control_characters(tmp_path, capsys, monkeypatch):
    def fails(*args):
        raise run_one.RunFailed("nothing is started here")

    monkeypatch.setattr(reproduce, "work", fails)
    result = {"command": "\x1b]0;title\x07\x1b[31m ${oc.env:HOME}"}
    config_ = jobs(tmp_path, "--task", "toy-reach", "--algo", "zero")[0].config("cpu")
    command = shown(result["command"])
    config_ = OmegaConf.merge(config_, values.literal({"command": command}))
    (tmp_path / "new").mkdir()
    assert reproduce._reproduce(tmp_path, result, config_, RunDir(tmp_path / "new")) == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "${oc.env:HOME}" in printed


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 100, header([]), header({"__metadata__": []}), header({"__metadata__": {"gradus": "[]"}}), DEEP],
    ids=["empty", "noise", "list", "metadata a list", "no object", "nested"],
)
def test_a_damaged_policy_to_start_from_is_one_line(tmp_path, content):
    file = tmp_path / "policy.safetensors"
    file.write_bytes(content)
    cfg = agents.load("ppo", "toy-reach", "smoke")
    with pytest.raises(warm_start.WarmStartError, match=r"\A[^\n]*policy\.safetensors[^\n]*\Z"):
        warm_start.check(file, tasks.get("toy-reach"), "ppo", cfg)


def test_a_policy_whose_name_no_file_system_takes_is_one_line():
    with pytest.raises(UserError, match="--policy: File name too long"):
        policies.file_of("x" * 400, tasks.get("toy-reach"))
