"""Which ends of an evaluation are the policy's doing, and which are trouble of the machine and cost no episode."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
import yaml

import tasks
from suite import evaluate
from suite.errors import UserError
from suite.execute import process
from suite.protocol import Protocol
from suite.runs import evaluation
from suite.runs.rollout import run_episodes
from tests.helpers.toy_runs import copy_run, spring_run

PROTOCOL = Protocol(
    task="toy-reach",
    engine="torch",
    device="cpu",
    protocol="nominal",
    seed=1,
    episodes_per_grade=2,
    episodes_per_cell=2,
    episodes_per_env=2,
)


def spoilt(error, at=10):
    """Events of a toy evaluation in which the engine raises `error` in a step."""
    env, events = tasks.get("toy-reach").build(4, "cpu", "torch"), []
    step, count = env.step, iter(range(1000))

    def bad_step(action):
        if next(count) == at:
            raise error
        return step(action)

    env.step = bad_step
    run_episodes(env, lambda obs: torch.zeros(4, 2), 1, 0, events.append)
    return events


def caused(by):
    error = RuntimeError("the scene cannot be read")
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ESTALE, "Stale file handle"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("Failed to allocate 128 bytes on device 'cpu'"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("cannot open /dev/shm/x: Too many open files"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        caused(OSError(errno.EROFS, "Read-only file system")),
    ],
)
def test_trouble_of_the_machine_is_no_crash_of_the_engine(error):
    with pytest.raises(type(error)):
        spoilt(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("the solver diverged"), ValueError("bad state"), caused(KeyError("body")), ZeroDivisionError()],
)
def test_what_the_engine_raises_is_a_crash(error):
    assert spoilt(error)[-1] == {"marker": "crashed"}


@pytest.mark.parametrize(
    ("markers", "code", "log"),
    [
        ({"started"}, -signal.SIGXCPU, ""),
        ({"started"}, -signal.SIGUSR1, ""),
        ({"started"}, -signal.SIGPIPE, ""),
        ({"started"}, -signal.SIGTERM, ""),
        ({"started"}, 1, "MemoryError"),
        ({"started"}, 1, "OSError: [Errno 27] File too large"),
        ({"started"}, 1, "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ({"started"}, 0, ""),
        ({"started"}, -signal.SIGABRT, "terminate called after throwing an instance of 'std::bad_alloc'"),
        ({"started"}, -signal.SIGBUS, "No space left on device"),
        (set(), -signal.SIGSEGV, ""),
    ],
)
def test_no_end_but_a_crash_of_the_engine_costs_episodes(tmp_path, monkeypatch, markers, code, log):
    (tmp_path / "log").write_text(log)
    monkeypatch.setattr(evaluation, "_run", lambda *_: ([], markers, code))
    with pytest.raises(evaluation.EvaluationError):
        evaluation.evaluate(PROTOCOL, tmp_path, tmp_path / "log", print)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"])
def test_a_crash_of_the_engine_does(tmp_path, monkeypatch, name):
    monkeypatch.setattr(evaluation, "_run", lambda *_: ([], {"started"}, -getattr(signal, name)))
    rows = evaluation.evaluate(PROTOCOL, tmp_path, tmp_path / "log", print)
    assert {row["termination"] for row in rows} == {"crashed"}


@pytest.mark.parametrize("check_at_once", [True, False])  # as on a CPU and as on CUDA
def test_an_action_that_is_not_finite_costs_its_own_episode(check_at_once):
    def events(bad):
        env, found = tasks.get("toy-reach").build(8, "cpu", "torch"), []
        env.check_at_once = check_at_once
        count = iter(range(1000))

        def policy(obs):
            action = torch.full((8, 2), 0.1)
            if next(count) == 5:
                action[3] = bad
            return action

        run_episodes(env, policy, 1, 0, found.append)
        return found

    sound = events(0.0)
    for bad in (float("nan"), float("inf")):
        found = events(bad)
        assert [e["env"] for e in found if e.get("termination") == "non_finite"] == [3]
        assert [e for e in found if e.get("env") != 3] == [e for e in sound if e.get("env") != 3]


@pytest.mark.parametrize("action", [torch.zeros(4, 2).double(), torch.zeros(4, 3), torch.zeros(4)])
def test_actions_of_another_kind_are_no_crash_of_the_engine(action):
    env, found = tasks.get("toy-reach").build(4, "cpu", "torch"), []
    with pytest.raises(ValueError, match="the policy gives actions"):
        run_episodes(env, lambda obs: action, 1, 0, found.append)
    assert found == [{"marker": "started"}]


def test_configuration_and_result_have_to_agree(tmp_path):
    run = copy_run(tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    for key, value in (("engine", "newton_mjwarp"), ("seed", 3)):
        (run / "config.yaml").write_text(yaml.safe_dump(config | {key: value}))
        with pytest.raises(UserError, match=f"{key} is .* in config.yaml and .* in result.json"):
            evaluate.main([str(run), "--device", "cpu", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_damaged_policy_is_a_mistake_of_the_user(tmp_path):
    run = copy_run(tmp_path)
    (run / "policy.safetensors").write_bytes(b"no policy")
    result = json.loads((run / "result.json").read_text())
    result["policy_sha256"] = evaluate.sha256(run / "policy.safetensors")
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(UserError, match="not a policy file"):
        evaluate.main([str(run), "--device", "cpu"])


@pytest.mark.faults
def test_no_room_for_the_events_of_an_evaluation_leaves_no_result(tmp_path):
    """`ulimit -f` stands for file systems that fail in the middle of a write."""
    command = [sys.executable, "-m", "suite.evaluate", str(spring_run()), "--device", "cpu", "--out", str(tmp_path)]
    limited = ["bash", "-c", 'ulimit -f 40; exec "$@"', "_", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "try again" in done.stderr
    assert not (tmp_path / "evaluation.json").exists()
    assert not (tmp_path / "episodes.parquet").exists()


def test_trouble_of_the_machine_is_known_by_its_words():
    assert process.of_the_machine(f"TileLoadError: {os.strerror(errno.ENOSPC)}")
    assert not process.of_the_machine("the solver diverged")
