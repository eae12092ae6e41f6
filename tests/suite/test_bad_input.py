"""Every mistake of the user is one line on stderr and exit code 2, before anything slow starts."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from suite import evaluate, run, status
from suite.cli import arguments as cli
from suite.errors import exit_code
from suite.execute import devices
from suite.tracking import tracker

GOOD = {"--task": "toy-reach", "--algo": "ppo", "--device": "cpu", "--budget": "smoke", "--wandb": "disabled"}


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a worker was started")

    monkeypatch.setattr("suite.execute.scheduler.execute", refuse)
    monkeypatch.setattr("suite.execute.process.start", refuse)


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
        ({}, ("agent.hidden_sizes={a: 1}",), "agent.hidden_sizes={a: 1}: expected a list"),
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
        # What other tools call it, and what they write as an option.
        ({"algo": "PPO"}, (), "unknown algorithm 'PPO'; nearest: 'ppo'"),
        ({"curriculum": "ADR"}, (), "nearest: 'adr'"),
        ({"physics": "mujoco"}, (), "nearest: 'newton_mjwarp'"),
        ({"num-envs": "8"}, (), "unknown option '--num-envs'; a setting is changed by train.num_envs=VALUE"),
        ({}, ("agent.lr=1e-3",), "unknown config key 'agent.lr'; nearest: 'agent.learning_rate'"),
        # Numbers that result.json, 64 bits or a machine cannot hold.
        ({}, ("agent.max_grad_norm=.inf",), "agent.max_grad_norm=inf: expected a finite number"),
        ({}, ("agent.vf_coef=nan",), "agent.vf_coef=nan: expected a finite number"),
        ({}, ("agent.learning_rate=1e400",), "agent.learning_rate=inf: expected a finite number"),
        ({}, ("agent.vf_coef=1e300",), "at most 1e+30"),
        ({"curriculum": "staged"}, ("curriculum.step=.inf",), "curriculum.step=inf"),
        ({}, ("eval.seed=99999999999999999999",), "eval.seed=99999999999999999999: expected a plain decimal number"),
        ({}, ("eval.seed=4294967296",), "eval.seed must be at most 4294967295"),
        ({}, ("train.num_envs=1000000000000",), "train.num_envs must be at most 1048576"),
        ({}, ("train.num_envs=" + "9" * 5000,), "expected at most 1000 characters"),
        ({}, ("agent.hidden_sizes=[10000000000]",), "expected at most 21 sizes, each at most 16384"),
        ({}, ("eval.episodes_per_grade=1000000000000",), "eval.episodes_per_grade must be at most"),
        ({"curriculum": "adr"}, ("curriculum.window=1000000000000",), "window=1000000000000: expected at most"),
        ({"seeds": "10000000"}, (), "--seeds must be at most 100000"),
        ({"seeds": "1" + "0" * 30}, (), "--seeds must be at most 100000"),
        ({"algo": "all", "seeds": "50000"}, (), "more than 100000 runs"),
        ({"workers": "1000000000"}, (), "--workers must be at most 1000"),
        ({"retries": "1" + "0" * 30}, (), "--retries must be at most 1000"),
        ({"jobs-per-gpu": "1" + "0" * 30}, (), "--jobs-per-gpu must be auto, or 1 to 999"),
        # What YAML would read as something else.
        *(
            ({}, (f"train.num_envs={text}",), "expected a plain decimal number")
            for text in ("010", "1:30", "0x40", "1_28")
        ),
        ({}, ("agent.hidden_sizes=[[1]]",), "agent.hidden_sizes=[[1]]: expected a list like [a, b]"),
        ({}, ("agent.hidden_sizes=" + "[" * 50_000,), "expected at most 1000 characters"),
        ({}, ("agent.hidden_sizes=64",), "agent.hidden_sizes=64: expected a list"),
        ({}, ("train.num_envs=[64]",), "train.num_envs=[64]: expected a value, not a list"),
        ({}, ('agent.activation="\\x24{oc.env:HOME}"',), r"activation=\x24{oc.env:HOME}: expected one of"),
        ({}, ("agent.activation=!!python/object:os.system",), "expected one of elu"),
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
    monkeypatch.setattr("tasks.core.engines.Engine.why_not", lambda e: f"no {e.name}; install it with `uv sync`")
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


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("", "expected a path, got an empty text"),
        ("x" * 300, "File name too long"),
        ("x/" * 2500, "File name too long"),
        ("/tmp/" + "x/" * 1900, "has too long a path"),
        ("a\udcff", "expected UTF-8"),
    ],
    ids=["empty", "long name", "long", "too long for runs", "not UTF-8"],
)
def test_out_that_no_file_system_takes(tmp_path, capsys, monkeypatch, out, said):
    monkeypatch.chdir(tmp_path)
    for command in (run, status):
        argv = arguments(out) if command is run else [out]
        code, err, _ = outcome(capsys, argv, command)
        assert code == 2
        assert said in err or "is not a folder" in err
        assert len(err) < 400
        assert not list(tmp_path.iterdir())


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
    monkeypatch.setattr(tracker, "login", lambda: None)
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
