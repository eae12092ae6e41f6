"""Files that are whole or absent, the recorder, the rollout, and the scheduler over made-up workers."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

import curricula
import tasks
from curricula.episodes import Episodes
from leaderboard import publish
from leaderboard.submissions import bundle
from suite.cli import arguments
from suite.execute import energy, launch, process, scheduler
from suite.execute.launch import Local
from suite.plan import config as configs
from suite.plan.matrix import plan
from suite.protocol import Protocol
from suite.report.display import Display, Plain, lines
from suite.runs import evaluation, rollout, training, worker
from suite.runs.recorder import MAX_ROWS, Curriculum, Progress
from suite.runs.rollout import run_episodes
from suite.runs.rundir import FILES, RunDir, atomic, read_json, sweep, write_json, write_status
from suite.runs.worker import Status
from suite.tracking import tracker
from tasks.core.files import temporary_beside
from tasks.spec import GRADES, difficulty_of
from tests.helpers.processes import alive, wait_until

torch.set_num_threads(1)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    file = tmp_path / "file"
    write_json(file, {"a": 1, "b": math.nan})
    assert read_json(file) == {"a": 1, "b": None}

    def half(temporary):
        temporary.write_text("{")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic(file, half)
    assert read_json(file) == {"a": 1, "b": None}
    assert os.listdir(tmp_path) == ["file"]
    file.write_text('{"a": ')
    assert read_json(file) is None


def test_writers_with_equal_process_ids_do_not_take_each_others_file(tmp_path, monkeypatch):
    """In containers every driver is process 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    file = tmp_path / "file"

    def write(temporary):
        temporary.write_text("{}")
        write_json(file, {"by": "another"})
        write_status(file, by="a third")

    atomic(file, write)
    assert read_json(file) == {}
    assert os.listdir(tmp_path) == ["file"]


def test_a_status_for_which_there_is_no_room_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_status(tmp_path / "status.json", state="training")
    assert os.listdir(tmp_path) == []


def test_temporary_files_of_the_killed_are_removed_and_those_of_others_are_not(tmp_path):
    run = RunDir(tmp_path)
    run.checkpoint.mkdir()
    old = [temporary_beside(run.status), temporary_beside(run.file("checkpoint")), run.checkpoint / ".last.ckpt.tmp"]
    kept = [temporary_beside(run.status), tmp_path / ".lease.3", tmp_path / ".worker.events", run.status]
    for file in (*old, *kept):
        file.touch()
    for file in (*old, *kept[1:]):
        os.utime(file, (0, 0))
    sweep(run)
    assert not any(file.exists() for file in old)
    assert all(file.exists() for file in kept)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_text("[" * 100_000),
        lambda file: file.write_bytes(b"\xff"),
        lambda file: file.write_text("[]"),
        lambda file: file.symlink_to("/dev/zero"),
        lambda file: file.mkdir(),
        os.mkfifo,
    ],
)
def test_json_that_cannot_be_read_is_none(tmp_path, damage):
    damage(tmp_path / "file")
    assert read_json(tmp_path / "file") is None


def test_all_lists_of_a_runs_files_come_from_one_table(tmp_path):
    """What bundles, the published folder and W&B hold is part of their formats, and stays."""
    run = RunDir(tmp_path)
    for name in FILES:
        assert getattr(run, name, None) in (run.file(name), run.file(name).parent)
        run.file(name).parent.mkdir(exist_ok=True)
        run.file(name).touch()
    needed = ("result.json", "config.yaml", "provenance.json", "episodes.parquet", "policy.safetensors")
    assert needed == bundle.RUN_FILES
    assert bundle.OPTIONAL_FILES == ("progress.parquet", "curriculum.parquet")
    assert bundle.EVALUATION_FILES == ("evaluation.json", "episodes.parquet")
    assert (*needed, "progress.parquet", "curriculum.parquet", "curve.parquet") == publish.FILES
    names = {kind: {file.name for file in files} for kind, files in tracker.run_files(run).items()}
    tables = {"episodes.parquet", "progress.parquet", "curriculum.parquet", "curve.parquet"}
    assert names == {"policy": {"policy.safetensors", "config.yaml"}, "result": {*needed[:1], *needed[2:3], *tables}}
    hashed = {f"{file.path.partition('.')[0]}_sha256" for file in FILES.values() if file.hashed}
    assert {file.hashed for file in FILES.values() if file.hashed} == hashed


def test_progress_is_bounded_and_continues(tmp_path):
    run = RunDir(tmp_path)
    progress = Progress(run, 0)
    for i in range(1, 3 * MAX_ROWS + 1):
        episodes = float(i % 2)
        row = {"env_steps": 10 * i, "wall_time_s": 0.1 * i, "steps_per_s": 100.0, "episodes": episodes}
        progress.add(row | {"success_mean": 1.0 if episodes else math.nan, "loss": float(i)})
    progress.save()
    rows = pq.read_table(run.progress).to_pylist()
    assert len(rows) <= MAX_ROWS
    assert rows[-1]["env_steps"] == 30 * MAX_ROWS
    assert sum(row["episodes"] for row in rows) == 3 * MAX_ROWS / 2
    assert rows[10]["success_mean"] == 1.0  # a mean over no episodes counts nothing
    middle = rows[100]["env_steps"]
    again = Progress(run, middle)
    assert again.rows == rows[:101]
    assert again.total("wall_time_s") == pytest.approx(middle / 100)
    assert math.isnan(again.total("energy_j"))  # was not counted
    assert Progress(run, 0).rows == []


class Nvml:
    """The driver's library, of a GPU that has used so many millijoules."""

    millijoules = 5_000
    found = 0

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):
        assert uuid == b"GPU-12-ab"
        return self.found

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, value):
        value._obj.value = self.millijoules
        return 0


def test_the_energy_of_a_gpu_is_its_own_counters(monkeypatch):
    nvml = Nvml()
    monkeypatch.setattr(energy.ctypes, "CDLL", lambda name: nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-ab"))
    meter = energy.Meter(torch.device("cuda:0"), before=2.0)
    nvml.millijoules = 8_000
    assert meter.lap() == 5.0
    nvml.millijoules = 9_000
    meter.skip()  # an evaluation between
    nvml.millijoules = 9_500
    assert meter.lap() == 5.5
    assert energy.Meter(torch.device("cuda:0"), before=math.nan).lap() is None
    assert energy.Meter(torch.device("cpu"), before=0.0).lap() is None
    nvml.found = 6  # a slice of a GPU is not counted by itself
    assert energy.Meter(torch.device("cuda:0"), before=0.0).lap() is None


def test_what_a_teacher_did_is_recorded(tmp_path):
    run, spec = RunDir(tmp_path), tasks.get("toy-reach")
    settings = OmegaConf.merge(curricula.config.load("adr"), {"target": "both", "factors": ["wind"]})
    teacher = curricula.make(settings, spec, "r3", 4, "cpu", seed=0)
    teacher.sample(torch.arange(4))
    curriculum = Curriculum(run, 0, 1000, teacher)
    difficulty = torch.tensor([0.0, 0.05, 0.5, 1.0])
    factors = torch.zeros(4, len(spec.factors))
    factors[:, [f.name for f in spec.factors].index("wind")] = torch.tensor([0.5, 0.5, 0.5, -0.25])
    at_end = torch.tensor([True, False, True, False])
    curriculum.add(Episodes(torch.arange(4), difficulty, factors, difficulty, difficulty, at_end, at_end, 100))
    curriculum.save()
    (row,) = pq.read_table(run.curriculum).to_pylist()
    assert row["env_steps"] == 100
    assert row["difficulty_mean"] == pytest.approx(0.3875)
    assert [row[f"success_bin_{i}"] for i in (0, 5, 9)] == [0.5, 1.0, 0.0]
    assert math.isnan(row["success_bin_1"])
    assert [row[f"episodes_bin_{i}"] for i in (0, 1, 5, 9)] == [2, 0, 1, 1]
    assert [row[f"started_bin_{i}"] for i in (0, 9)] == [4, 0]  # the ranges start at the easiest point
    assert row["low.difficulty"] == pytest.approx(0.0075)
    assert row["high.wind"] == pytest.approx(0.5)
    assert row["teacher.range_high.difficulty"] == row["teacher.range_low.wind"] == 0.0


def toy(n):
    env = tasks.get("toy-reach").build(n, "cpu", "torch")
    difficulty = torch.tensor([difficulty_of(grade) for grade in GRADES]).repeat_interleave(n // len(GRADES))
    env.set_sampler(lambda env_ids: difficulty[env_ids])
    return env


def protocol(per_grade, per_env):
    return Protocol("toy-reach", "torch", "cpu", "nominal", per_grade, per_env, per_env, seed=7)


def collect(env, policy, per_env):
    rows = []
    run_episodes(env, policy, per_env, 7, rows.append)
    markers = [row["marker"] for row in rows if "marker" in row]
    return [row for row in rows if "env" in row], markers


def go(obs):
    return (2.0 * obs[:, 4:6] - 1.5 * obs[:, 2:4]).clamp(-1, 1)


def test_rollout_takes_the_first_episodes_of_every_env():
    def outward_in_some(obs):  # leaves the arena early, again and again, in every other env
        action = go(obs)
        action[::2] = obs[::2, 0:2].sign()
        return action

    rows, markers = collect(toy(10), outward_in_some, per_env=3)
    assert markers == ["started", "done"]
    filled = evaluation._fill(protocol(6, 3), rows)
    assert [(row["env"], row["episode"]) for row in filled] == [(i, k) for i in range(10) for k in range(3)]
    assert all(row["grade"] == GRADES[row["env"] // 2] for row in filled)
    assert all(row["difficulty"] == difficulty_of(row["grade"]) for row in filled)
    early = [row for row in filled if row["env"] % 2 == 0]
    assert {row["termination"] for row in early} == {"left_arena"}
    assert {row["termination"] for row in filled if row["env"] % 2} == {"time_out"}
    assert all(row["length"] < 50 and not row["success"] for row in early)
    good = [row for row in filled if row["env"] % 2]
    assert all(row["length"] == 50 for row in good)
    assert evaluation.summary(filled)["success"]["g1"] == 0.5


def test_an_evaluation_in_which_no_episode_has_ended_is_no_hang(tmp_path, monkeypatch):
    """Steps are reported; the status has news of each report, and the watchdog hears of that."""
    monkeypatch.setattr(rollout, "HEARTBEAT_S", 0.0)
    events, told = [], []
    run_episodes(toy(10), go, 3, 7, events.append)
    first = next(k for k, event in enumerate(events) if "env" in event)
    beats = [event for event in events[:first] if "steps" in event]
    assert len(beats) > 10
    monkeypatch.setattr(
        evaluation.process, "Child", lambda *args: Replayed([e for beat in beats for e in (beat, None)])
    )
    report = Status(RunDir(tmp_path), 0)
    report.on_news = told.append
    evaluation._run(protocol(6, 3), tmp_path, tmp_path, lambda done, news: report("evaluating", message=news))
    assert told == [True] * len(beats)
    report("evaluating", message=report._fields["message"])  # without a further step there is none
    assert len(told) == len(beats)


class Replayed:
    """Events of a child that is not there."""

    code = 0

    def __init__(self, events):
        self._events = events

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __iter__(self):
        return iter(self._events)

    def news(self):
        return ""


def test_a_long_iteration_of_a_training_is_no_hang(tmp_path, monkeypatch):
    told, env, file = [], toy(5), tmp_path / "events"
    monkeypatch.setattr(training, "BEAT_S", 0.0)
    env.reset(0)
    step = training._beating(env.step, training.Reporter(str(file)))
    for _ in range(3):
        step(torch.zeros(5, 2))
    events = [json.loads(line) for line in file.read_text().splitlines()]
    monkeypatch.setattr(worker.process, "Child", lambda *args: Replayed(events))
    report = Status(RunDir(tmp_path), 0)
    report.on_news = told.append
    run = RunDir(tmp_path)
    run.policy.touch()
    worker._train(run, None, report, SimpleNamespace(asked=False, training=None))
    assert told == [True] * 3  # before the first iteration has ended, in which kernels are compiled


def test_the_step_at_which_a_training_failed_is_known(tmp_path):
    file = tmp_path / "events"
    report = training.Reporter(str(file))
    for step in (1, 2, 3):
        report.status("training", env_steps=step)
    report.flush()
    report.flush()
    steps = [json.loads(line)["status"]["env_steps"] for line in file.read_text().splitlines()]
    assert steps == [1, 3]


def test_non_finite_numbers_fail_the_episode_and_no_other():
    env = toy(5)
    step, count = env.step, iter(range(1000))

    def bad_step(action):
        obs, reward, *rest = step(action)
        if next(count) == 10:
            reward = reward.clone()
            reward[2] = math.nan
        return obs, reward, *rest

    env.step = bad_step
    rows, _ = collect(env, go, per_env=2)
    filled = evaluation._fill(protocol(2, 2), rows)
    bad = [row for row in filled if row["termination"] == "non_finite"]
    assert [(row["env"], row["episode"]) for row in bad] == [(2, 0)]
    assert not bad[0]["success"]
    assert math.isfinite(bad[0]["return"])
    assert filled[5]["success"]  # the next episode of the same env


def test_episodes_that_do_not_end_are_cut():
    env = toy(5)
    step = env.step

    def endless(action):
        obs, reward, terminated, truncated, extras = step(action)
        keep = torch.tensor([True, True, True, True, False])
        return obs, reward, terminated & keep, truncated & keep, extras

    env.step = endless
    rows, markers = collect(env, go, per_env=2)
    assert markers == ["started", "done"]
    filled = evaluation._fill(protocol(2, 2), rows)
    assert [row["termination"] for row in filled if row["env"] == 4] == ["cut", "cut"]
    assert evaluation.summary(filled)["success"] == {"g1": 1.0, "g2": 1.0, "g3": 1.0, "g4": 1.0, "g5": 0.0}


def test_a_crash_fails_what_is_missing():
    env = toy(5)
    step, count = env.step, iter(range(1000))

    def crash(action):
        if next(count) == 70:
            raise RuntimeError("physics is gone")
        return step(action)

    env.step = crash
    rows, markers = collect(env, go, per_env=2)
    assert markers == ["started", "crashed"]
    filled = evaluation._fill(protocol(2, 2), rows)
    assert [row["termination"] for row in filled] == ["time_out", "crashed"] * 5
    assert evaluation.summary(filled)["success"]["g1"] == 0.5
    assert math.isfinite(evaluation.summary(filled)["return"]["g1"])


@pytest.mark.parametrize(
    ("markers", "code", "said"),
    [
        ({"started"}, -signal.SIGSEGV, None),
        ({"started", "crashed"}, 0, None),
        ({"started"}, -signal.SIGKILL, "killed by SIGKILL"),
        (set(), 1, "no such engine"),
        ({"started"}, process.DISK_FULL, "No space left on device"),
        ({"started"}, 1, "CUDA out of memory"),
    ],
)
def test_only_an_engine_that_crashes_twice_costs_episodes(tmp_path, monkeypatch, markers, code, said):
    log = tmp_path / "log"
    log.write_text("CUDA out of memory\n" if said == "CUDA out of memory" else "no such engine\n")
    tries = []
    monkeypatch.setattr(evaluation, "_run", lambda *args: tries.append(1) or ([], markers, code))
    if said is not None:  # not the policy's doing: no result, and the next run tries again
        with pytest.raises(evaluation.EvaluationError, match=said):
            evaluation.evaluate(protocol(2, 2), tmp_path, log, print)
        return
    rows = evaluation.evaluate(protocol(2, 2), tmp_path, log, print)
    assert len(tries) == 2
    assert [row["termination"] for row in rows] == ["crashed"] * 10
    assert evaluation.write(tmp_path / "episodes.parquet", rows, protocol(2, 2), "ppo")


def test_a_child_ends_with_its_parent(tmp_path):
    code = (
        "import subprocess, sys, time; from pathlib import Path; from suite.execute import process;"
        "p = process.start(['tests.helpers.suite_follower', 'wait'],"
        f"Path({str(tmp_path / 'log')!r}), own_session=True);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    wait_until(lambda: "following" in (tmp_path / "log").read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(child))


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert process.reason(3, log) == "exit code 3"
    log.write_text("Traceback\nValueError: bad\n\n")
    assert process.reason(1, log) == "ValueError: bad"
    assert process.reason(-signal.SIGSEGV, log) == "killed by SIGSEGV"


def test_a_child_reports_events_and_what_it_is_busy_with(tmp_path):
    log = tmp_path / "log"
    log.write_text("compiling long ago\n")
    with process.Child(["tests.helpers.suite_follower"], log) as child:
        events, news = [], set()
        for event in child:
            if event is None:
                news.add(child.news())
                if "compiling kernels" in news:
                    (tmp_path / "seen").touch()  # what it waits for
            else:
                events.append(event)
    assert events == [{"step": 1}, {"step": 2}]  # the third was cut off
    assert news <= {"", "compiling kernels"}
    assert "compiling kernels" in news
    assert child.code == 3


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Jobs whose workers do what `tests.helpers.suite_worker` is told to do by seed."""
    monkeypatch.setattr(launch, "WORKER", "tests.helpers.suite_worker")
    argv = ["--task", "toy-reach", "--algo", "zero", "--wandb", "disabled", "--out", str(tmp_path)]

    def make(behaviour):
        monkeypatch.setenv("SUITE_WORKER", json.dumps(behaviour))
        return plan(arguments.parse([*argv, "--seeds", str(len(behaviour))])[0])

    return make


@pytest.mark.parametrize(("slots", "threads"), [
    (["cpu"], 8),
    (["cpu"] * 4, 2),
    (["cpu"] * 8, 0),
    (["cuda:0"] * 8, 1),
])  # fmt: skip
def test_a_run_has_as_many_threads_of_physx_as_cores(monkeypatch, tmp_path, slots, threads):
    started = []
    monkeypatch.setattr(launch.devices, "cores", lambda: 8)
    monkeypatch.setattr(launch.process, "start", lambda *args, **options: started.append(options["threads"]))
    Local(slots, 900).start(slots[0], RunDir(tmp_path), SimpleNamespace(generation=1))
    assert started == [threads]


def test_a_crash_in_one_job_does_not_stop_the_others(made_up, capsys):
    jobs = made_up(
        ["complete", "raise", "segfault", "complete then segfault", "fail with reason", "complete", "killed"]
    )
    tracked = scheduler.execute(jobs, Local(["cpu", "cpu"], 900), Plain())
    assert [t.state for t in tracked] == ["complete", "failed", "failed", "complete", "failed", "complete", "failed"]
    assert "ValueError: made up" in tracked[1].message
    assert tracked[2].message == "killed by SIGSEGV"
    assert tracked[4].message == "NonFiniteError: reward is NaN"
    assert tracked[6].message == "killed by SIGKILL"
    status = read_json(jobs[2].run.status)
    assert (status["state"], status["message"]) == ("failed", "killed by SIGSEGV")
    out = capsys.readouterr().out
    assert "3/7 toy-reach zero none-r0-torch-smoke seed 2: failed | killed by SIGSEGV" in out
    assert sum("failed" in line.plain for line in lines(tracked, 100, 24)) == 5  # of four, and in the summary

    started = [job.run.result.stat().st_mtime_ns for job in jobs if job.run.result.exists()]
    again = scheduler.execute(made_up(["raise"] * 7), Local(["cpu"] * 3, 900), Display())
    assert [t.state for t in again] == ["skipped", "failed", "failed", "skipped", "failed", "skipped", "failed"]
    assert [job.run.result.stat().st_mtime_ns for job in jobs if job.run.result.exists()] == started


def test_ctrl_c_twice_ends_the_workers(made_up):
    jobs = made_up(["hang", "hang and ignore SIGTERM", "complete"])
    pids = []

    class Interrupt(Display):
        def update(self, tracked):
            if all(t.status.get("pid") for t in tracked[:2]):
                pids[:] = [t.status["pid"] for t in tracked[:2]]
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        scheduler.execute(jobs, Local(["cpu", "cpu"], 900), Interrupt())
    assert not any(alive(pid) for pid in pids)
    for job in jobs[:2]:
        assert read_json(job.run.status)["state"] == "queued"
    assert not jobs[2].run.path.exists()


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], 8),
        (["train.num_envs=65536"], 1),  # not one episode of all envs
        (["train.env_steps=2048000"], 2),  # of 1024 envs: four episodes long
        (["train.env_steps=2048000", "train.checkpoints=5"], 5),
    ],
)
def test_checkpoints_leave_room_for_episodes(items, expected):
    spec = tasks.get("go2-velocity")
    config = configs.defaults(spec, "ppo", "full")
    config, _ = configs.override(config, ["train.num_envs=1024", *items])
    assert configs.checkpoints(config, spec) == expected
