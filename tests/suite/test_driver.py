"""Dry run, status, preflight and the driver's edge cases, without a worker."""

import errno
import json
import os

import pytest

import suite
import tasks
from suite import protocol, run, status
from suite.cli import arguments
from suite.errors import UserError, exit_code
from suite.execute import scheduler
from suite.execute.launch import NODE_LOST
from suite.execute.lease import Claimant
from suite.plan import config, estimate, plans, preflight
from suite.plan.matrix import plan
from suite.report.display import Display, describe, overall
from suite.runs.rundir import RESULT_KEYS, write_json, write_status
from tasks.spec import GRADES


def request_of(out, *argv):
    base = ["--task", "toy-reach", "--algo", "ppo,random", "--budget", "smoke", "--wandb", "disabled"]
    return arguments.parse([*base, "--device", "cpu", "--out", str(out), *argv])


def planned(out, *argv):
    return plan(request_of(out, *argv)[0])


def complete(job, env_steps=100_000, wall_time_s=100.0):
    run = job.run
    run.path.mkdir(parents=True, exist_ok=True)
    config.save(job.config("cpu"), run)
    run.policy.touch()
    run.episodes.touch()
    result = dict.fromkeys(RESULT_KEYS, 0) | {"task": job.task, "algo": job.algo, "engine": "torch", "device": "A CPU"}
    result |= {"suite_version": suite.__version__, "curriculum": "none", "randomization": "r0", "budget": "smoke"}
    result |= {"overrides": {}, "success": dict.fromkeys(GRADES, 0.5)}
    result |= dict.fromkeys(("policy_sha256", "episodes_sha256"), "0" * 64)
    result |= {"num_envs": job.setting["train"]["num_envs"], "env_steps": env_steps, "wall_time_s": wall_time_s}
    result |= {
        "evaluation_time_s": 32.0,
        "episodes": dict.fromkeys(GRADES, 48),
        "cells": {"all/mixed": {"success": 0.5, "episodes": 80}},
        "provenance": {"ended": "2026-01-01T00:00:00+00:00", "gpus": []},
        "schema": 1,
        "command": "",
    }
    write_json(run.result, result)


def test_dry_run_writes_nothing_and_says_where_its_times_come_from(tmp_path, capsys):
    out = tmp_path / "runs"
    argv = ["--task", "toy-reach", "--algo", "ppo,random", "--seeds", "3", "--budget", "smoke", "--device", "cpu"]
    assert run.main([*argv, "--out", str(out), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "6 runs: 0 complete, 6 to do" in text
    assert "~: an estimate from a shipped table" in text
    assert not out.exists()


def test_finished_runs_replace_the_shipped_table(tmp_path):
    jobs = planned(tmp_path, "--seeds", "3", "eval.protocol=nominal")
    for job in jobs[:2]:
        complete(job, wall_time_s=100.0 if job.algo == "ppo" else 0.0)
    ppo, random = estimate.estimate(jobs, estimate.results(tmp_path), "cpu")
    assert (ppo.runs, ppo.complete, ppo.runs_known) == (3, 1, 1)
    start = estimate.GUESSES["cpu"]["start_s"]
    episodes = len(protocol.cells(tasks.get("toy-reach"), "nominal")) * 64
    assert ppo.each_s == pytest.approx(start + jobs[0].env_steps / 1000 + episodes * 0.1)
    assert random.each_s == pytest.approx(start + episodes * 0.1)
    assert ppo.left_s == 2 * ppo.each_s
    lines = estimate.summary([ppo, random], ["cpu", "cpu"])
    assert lines[0] == "6 runs: 2 complete, 4 to do"
    assert len(lines) == 2  # no word of a table
    (guess, _) = estimate.estimate(jobs, estimate.results(tmp_path), "cuda")
    assert guess.runs_known == 0  # nothing of a GPU is known


def test_status_shows_what_was_planned_what_runs_and_what_was_lost(tmp_path, capsys):
    request, _, _ = request_of(tmp_path, "--seeds", "3")
    jobs = plan(request)
    plans.save(jobs, request)
    complete(jobs[0])
    for job in jobs[1:4]:
        job.run.path.mkdir(parents=True, exist_ok=True)
        write_status(job.run.status, state="training", env_steps=500, total_env_steps=1000, steps_per_s=10.0)
    held = Claimant(jobs[1].run.path).claim()
    (jobs[3].run.path / ".lease.1").write_text(json.dumps({"machine": "another", "pid": 1, "started": "1"}))
    found = {run.job.path: run for run in status.look(tmp_path)}
    states = [found[str(job.run.path.relative_to(tmp_path))].state for job in jobs]
    assert states == ["complete", "training", "lost", "training", "queued", "queued"]
    old = jobs[3].run.status.stat().st_mtime - 1000
    os.utime(jobs[3].run.status, (old, old))
    held.give_back()
    assert [run.state for run in status.look(tmp_path)].count("lost") == 3
    assert status.main([str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "3 lost" in text
    assert status.main([str(tmp_path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 6
    assert exit_code("suite.status", lambda: status.main([str(tmp_path / "none")])) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_one_line_on_all_runs(tmp_path):
    tracked = [scheduler.Tracked(job) for job in planned(tmp_path, "--seeds", "2", "train.env_steps=1000000")]
    tracked[0].state, tracked[0].status = "training", {"env_steps": 500_000, "steps_per_s": 1000.0}
    tracked[1].state = "complete"
    assert overall(tracked) == (
        "4 runs: 1 training, 1 complete, 2 queued | 25% of 2.0M env steps | 1.0k steps/s, about 25:00 left"
    )
    tracked[2].message = "its machine was lost"
    assert describe(tracked[2]).endswith("queued | its machine was lost")


class Made:
    """A launcher of attempts that have ended already, with the codes given."""

    devices = ("cpu",)

    def __init__(self, *codes, on_start=lambda run: None):
        self.codes, self.on_start, self.started = list(codes), on_start, []

    def take(self):
        return "cpu"

    def give_back(self, device):
        pass

    def start(self, device, run, lease):
        self.started.append(run)
        self.on_start(run)
        code = self.codes.pop(0)
        return type("Ended", (), {"poll": lambda self: code, "stop": lambda self: None, "kill": lambda self: None})()

    def close(self):
        pass


def test_retries_are_counted_and_reasons_kept(tmp_path):
    jobs = planned(tmp_path, "--algo", "zero")
    launcher = Made(1, -9, NODE_LOST)
    (tracked,) = scheduler.execute(jobs, launcher, Display(), retries=2)
    assert tracked.state == "failed"
    assert len(launcher.started) == 3
    reasons = [failure["reason"] for failure in jobs[0].run.read_failures()]
    assert reasons == ["exit code 1", "killed by SIGKILL", "its machine was lost"]
    assert Claimant(jobs[0].run.path).free()


@pytest.mark.parametrize(
    ("reasons", "steps", "tries"),
    [
        (["NonFiniteError: reward is NaN"] * 9, [4096] * 9, 2),
        (["AttributeError: 'FixedAlpha' object has no attribute '_optim'"] * 9, [0] * 9, 2),
        (["NonFiniteError: reward is NaN"] * 9, [4096, 6144, 8192, 8192, 9], 4),
        (["ValueError: a", "ValueError: b", "ValueError: a", "KeyError: 1", "KeyError: 1"], [10] * 5, 5),
        (["ValueError: a", "killed by SIGKILL", "ValueError: a", "ValueError: a"], [10] * 4, 4),
        (["OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"] * 9, [0] * 9, 6),  # may have fewer envs next
        (["ConnectionError: no route to the store"] * 9, [0] * 9, 6),
        (["killed by SIGKILL"] * 9, [100] * 9, 6),
    ],
)
def test_an_exception_that_came_twice_at_the_same_step_is_not_tried_a_third_time(tmp_path, reasons, steps, tries):
    (job,) = planned(tmp_path, "--algo", "zero")

    def fail(run):
        k = len(run.read_failures())
        write_status(run.status, state="failed", message=reasons[k], env_steps=steps[k])

    launcher = Made(*[1] * 9, on_start=fail)
    (tracked,) = scheduler.execute([job], launcher, Display(), retries=5)
    assert (tracked.state, len(launcher.started)) == ("failed", tries)
    assert [failure["reason"] for failure in job.run.read_failures()] == reasons[:tries]
    assert ("twice at the same step" in tracked.message) == (tries < 6)


def test_a_damaged_lease_is_said_to_be_one(tmp_path, monkeypatch):
    (job,) = planned(tmp_path, "--algo", "zero")
    (job.run.path / ".lease.3").mkdir(parents=True)
    (tracked,) = scheduler.execute([job], Made(), Display(), wait=False)
    assert tracked.state == "elsewhere"
    assert "lease is damaged: taken over after 60 s" in tracked.message


def test_a_full_disk_starts_nothing_more(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(config, "save", full)
    tracked = scheduler.execute(planned(tmp_path, "--seeds", "2"), Made(), Display(), retries=5)
    assert [t.state for t in tracked] == ["failed", "queued", "queued", "queued"]
    assert "No space left" in tracked[0].message


def test_runs_of_other_commands_are_left_or_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "LOOK_S", 0.0)
    monkeypatch.setattr(scheduler, "POLL_S", 0.0)
    jobs = planned(tmp_path, "--algo", "zero", "--seeds", "2")
    jobs[0].run.path.mkdir(parents=True)
    held = Claimant(jobs[0].run.path).claim()
    finish = {run.path: job for job in jobs for run in [job.run]}
    launcher = Made(0, on_start=lambda run: complete(finish[run.path]))
    left = scheduler.execute(jobs, launcher, Display(), wait=False)
    assert [t.state for t in left] == ["elsewhere", "complete"]
    assert [run.path.name for run in launcher.started] == ["seed1"]

    class ThenDies(Display):
        def update(self, tracked):
            held.give_back()

    launcher = Made(0, on_start=lambda run: complete(finish[run.path]))
    waited = scheduler.execute(planned(tmp_path, "--algo", "zero", "--seeds", "2"), launcher, ThenDies())
    assert [t.state for t in waited] == ["complete", "skipped"]


@pytest.mark.parametrize(
    ("name", "error", "said"), [("replace", errno.EPERM, "atomic rename"), ("link", errno.EPERM, "hard links")]
)
def test_a_file_system_that_cannot_keep_results_whole(tmp_path, monkeypatch, name, error, said):
    def refuse(*args, **options):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(f"suite.plan.preflight.os.{name}", refuse)
    with pytest.raises(UserError, match=f"file system without {said}"):
        preflight.check_writable(tmp_path / "runs")
    monkeypatch.undo()
    assert os.listdir(tmp_path / "runs") == []
    preflight.check_writable(tmp_path / "runs")


def test_a_folder_that_cannot_be_made():
    with pytest.raises(UserError, match="cannot be written"):
        preflight.check_writable(preflight.Path("/proc/runs"))  # for root as well


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--workers", "1000", "--task", "cartpole-balance"], "1000 runs at a time need about 2500 GB of memory"),
        (["--workers", "0"], "--workers must be 1 or more"),
        (["--retries", "-1"], "--retries must be 0 or more"),
        (["--watchdog", "nan"], "--watchdog must be 1 or more"),
        (["--jobs-per-gpu", "many"], "--jobs-per-gpu must be auto, or 1 to 999"),
        (["--launcher", "slurm"], "unknown launcher 'slurm'"),
        (["--ray-address", "a:1"], "need --launcher ray"),
        (["--store", "s3://bucket"], "need --launcher ray"),
        (["train.min_envs=0"], "train.min_envs must be 1 or more"),
        (["train.min_envs=100000"], "train.min_envs must be at most train.num_envs"),
    ],
)
def test_mistakes_about_the_execution(tmp_path, argv, said):
    with pytest.raises(UserError, match=said):
        planned(tmp_path, *argv)


def test_fewer_envs_only_where_the_settings_allow_it(tmp_path):
    for argv, expected in (([], 128), (["train.min_envs=50"], 50)):
        (job, _) = planned(tmp_path, *argv)
        job.run.path.mkdir(parents=True)
        for reason in ("CUDA out of memory", "Failed to allocate 99 bytes on device 'cuda:0'", "killed by SIGSEGV"):
            job.run.add_failure("cuda:0", reason)
        content = job.config("cuda:0")
        config.reduce_envs(content, job.run)
        assert content.train.num_envs == content.agent.num_envs == expected
