"""Every mistake of the user is one line on stderr and exit code 2, before anything slow starts."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from suite import cli, devices, evaluate, run, tracking
from suite.errors import exit_code

GOOD = {"--task": "toy-reach", "--algo": "ppo", "--device": "cpu", "--budget": "smoke", "--wandb": "disabled"}


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a worker was started")

    monkeypatch.setattr("suite.scheduler.execute", refuse)
    monkeypatch.setattr("suite.process.start", refuse)


def arguments(out, *rest, **changed):
    options = GOOD | {"--out": str(out)} | {f"--{name}": value for name, value in changed.items()}
    return [text for pair in options.items() for text in pair] + list(rest)


def outcome(capsys, argv, command=run, name="suite.run"):
    code = exit_code(name, lambda: command.main(argv))
    printed = capsys.readouterr()
    return code, printed.err.strip(), printed.out


@pytest.mark.parametrize(
    ("changed", "rest", "said"),
    [
        ({"task": "toy-raech"}, (), "unknown task 'toy-raech'; nearest: 'toy-reach'"),
        ({"task": "cartpole-balance,franka-rech"}, (), "nearest: 'franka-reach'"),
        ({"task": ""}, (), "unknown task ''"),
        ({"algo": "pppo"}, (), "unknown algorithm 'pppo'; nearest: 'ppo'"),
        ({"physics": "newton"}, (), "unknown engine 'newton'; nearest: 'newton_mjwarp'"),
        ({"budget": "smoky"}, (), "unknown budget 'smoky'; nearest: 'smoke'"),
        ({"budget": "smoke,quick"}, (), "unknown budget 'smoke,quick'"),
        ({"launcher": "local,ray"}, (), "unknown launcher 'local,ray'"),
        ({"curriculum": "non"}, (), "unknown curriculum 'non'; nearest: 'none'"),
        ({"randomization": "r9"}, (), "unknown randomization level 'r9'"),
        ({"wandb": "offlin"}, (), "unknown W&B mode 'offlin'; nearest: 'offline'"),
        ({"device": "gpu"}, (), "unknown device 'gpu'; expected auto, cpu or cuda:K"),
        ({"seeds": "0"}, (), "--seeds must be 1 or more, got 0"),
        ({"seeds": "-3"}, (), "--seeds must be 1 or more, got -3"),
        ({"seeds": "two"}, (), "invalid int value: 'two'"),
        ({"sedes": "2"}, (), "unknown option '--sedes'; nearest: '--seeds'"),
        ({}, ("train.num_env=4",), "unknown config key 'train.num_env'; nearest: 'train.num_envs'"),
        ({}, ("agent.learning_rat=1",), "nearest: 'agent.learning_rate'"),
        ({"algo": "random"}, ("agent.learning_rate=1",), "unknown config key"),
        ({}, ("train",), "expected key=value, got 'train'"),
        ({}, ("train.num_envs=abc",), "train.num_envs=abc: Value 'abc'"),
        ({}, ("train.num_envs=[",), "train.num_envs=["),
        ({}, ("agent.gamma=???",), "agent.gamma=???: expected a plain value"),
        ({}, ("agent.gamma=${agent.none}",), "expected a plain value"),
        ({}, ("train.num_envs=0",), "train.num_envs must be 1 or more, got 0"),
        ({}, ("train.num_envs=-4",), "train.num_envs must be 1 or more, got -4"),
        ({}, ("train.env_steps=0",), "train.env_steps must be 1 or more"),
        ({}, ("train.checkpoints=0",), "train.checkpoints must be 1 or more"),
        ({}, ("eval.episodes_per_grade=0",), "eval.episodes_per_grade must be 1 or more"),
        ({}, ("eval.episodes_per_grade=7",), "positive multiple of 2"),
        ({}, ("agent.gamma=2",), "agent.gamma=2.0: expected between 0 and 1"),
        ({}, ("agent.hidden_sizes={a: 1}",), "agent.hidden_sizes={a: 1}: Cannot merge"),
        ({}, ("agent.num_envs=8",), "set it with train.num_envs=N"),
        ({}, ("seed=3",), "seed cannot be overridden; set it with --seeds"),
        (
            {"curriculum": "adr"},
            ("curriculum.target=all",),
            "curriculum.target=all: expected one of",
        ),
        (
            {"curriculum": "adr", "randomization": "r3"},
            ("curriculum.target=factors", "curriculum.factors=[wnd]"),
            "curriculum.factors: 'wnd' is not declared by task toy-reach; valid: mass",
        ),
        (
            {"curriculum": "plr", "randomization": "r3"},
            ("curriculum.target=both", "curriculum.factors=[drag]"),
            "'drag' is held out of training",
        ),
        ({"curriculum": "spdl"}, ("curriculum.target=both",), "use --randomization r3"),
        ({"curriculum": "staged"}, ("curriculum.promote=0.3",), "promote=0.3 has to be above demote=0.4"),
        ({"curriculum": "none"}, ("curriculum.promote=0.3",), "unknown config key 'curriculum.promote'"),
        ({"curriculum": "adr"}, ("curriculum.window=many",), "curriculum.window=many: Value 'many'"),
        ({}, ("curriculum.grade=g7",), "curriculum.grade=g7: expected one of g1"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, changed, rest, said):
    code, err, _ = outcome(capsys, arguments(tmp_path / "runs", *rest, **changed))
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
    assert err.startswith("suite.run: ")
    assert not (tmp_path / "runs").exists()


def test_dqn_needs_discrete_actions(tmp_path, capsys, monkeypatch):
    spec = dataclasses.replace(tasks.get("toy-reach"), discrete_actions=())
    monkeypatch.setattr(tasks, "get", lambda name: spec)
    code, err, _ = outcome(capsys, arguments(tmp_path, algo="dqn"))
    assert code == 2
    assert "declares no discrete actions, which dqn needs" in err
    request, _, _ = cli.parse(arguments(tmp_path, algo="all"))
    assert "dqn" not in {job.algo for job in run.plan(request)}


def test_missing_option(capsys):
    code, err, _ = outcome(capsys, ["--task", "toy-reach"])
    assert code == 2
    assert "--algo" in err


@pytest.mark.parametrize(("gpus", "device"), [((), "cuda:0"), ((), "cuda"), (("A GPU",), "cuda:1")])
def test_missing_gpu(tmp_path, capsys, monkeypatch, gpus, device):
    monkeypatch.setattr(devices, "cuda_names", lambda: gpus)
    monkeypatch.setattr(devices, "cuda_faults", dict)
    code, err, _ = outcome(capsys, arguments(tmp_path, device=device))
    assert code == 2
    assert "is missing" in err
    assert len(err.splitlines()) == 1


def test_engine_that_is_not_installed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tasks.engines._why_not", lambda name: f"no {name}; install it with `uv sync`")
    code, err, _ = outcome(capsys, arguments(tmp_path, task="cartpole-balance", physics="newton_mjwarp"))
    assert code == 2
    assert "install it with" in err


def test_out_that_cannot_be_written(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    for out in (file, file / "below", Path("/proc/gradus")):
        code, err, _ = outcome(capsys, arguments(out))
        assert code == 2
        assert "cannot be written" in err
        assert len(err.splitlines()) == 1


def test_out_of_another_suite_version(tmp_path, capsys):
    other = tmp_path / "0.0.9" / "toy-reach" / "ppo" / "none-r0-torch-smoke" / "seed0"
    other.mkdir(parents=True)
    (other / "config.yaml").write_text("suite_version: 0.0.9\n")
    code, err, _ = outcome(capsys, arguments(tmp_path))
    assert code == 2
    assert "suite version 0.0.9" in err
    for argv, command in ((arguments(other), run), ([str(other)], evaluate)):
        code, err, _ = outcome(capsys, argv, command)
        assert code == 2
        assert "run directory itself" in err or "suite version 0.0.9" in err


def test_run_directory_with_other_settings(tmp_path, capsys):
    request, _, _ = cli.parse(arguments(tmp_path))
    job = run.plan(request)[0]
    job.run.path.mkdir(parents=True)
    job.run.config.write_text("suite_version: 0.1.0\ntask: toy-reach\n")
    code, err, _ = outcome(capsys, arguments(tmp_path))
    assert code == 2
    assert "holds a run with other settings" in err


def test_wandb_online_needs_a_login(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tracking, "login", lambda: None)
    code, err, _ = outcome(capsys, arguments(tmp_path, wandb="online"))
    assert code == 2
    assert "wandb login" in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [(["nowhere"], "not a run directory"), ([], "RUN"), (["nowhere", "--episodes", "x"], "invalid int value")],
)
def test_evaluate(capsys, argv, said):
    code, err, _ = outcome(capsys, argv, evaluate, "suite.evaluate")
    assert code == 2
    assert said in err


def test_a_mistake_is_found_without_torch_or_a_simulator(tmp_path):
    code = "import runpy, sys, suite.list, suite.doctor\ntry:\n    runpy.run_module('suite.run', run_name='__main__')\n"
    code += "finally:\n    print({'torch', 'isaaclab', 'pandas'} & set(sys.modules))"
    command = [sys.executable, "-c", code, *arguments(tmp_path, task="nothing")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("suite.run: unknown task 'nothing'")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.strip() == "set()"
