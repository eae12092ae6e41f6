"""Faults: workers and drivers killed at random over 200 jobs, several drivers at once, and real trainings killed.

The 200 jobs are `tests.helpers.suite_training`, which stands in for the training and is real where faults matter.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest

from suite.plan import plans
from suite.runs.rundir import RunDir, read_json, sha256
from tests.helpers import suite_training
from tests.helpers.processes import running, wait_until

JOBS = 200
pytestmark = pytest.mark.faults


def arguments(out, *argv, seeds=JOBS):
    base = ["--task", "toy-reach", "--algo", "zero", "--budget", "smoke", "--device", "cpu", "--wandb", "disabled"]
    return [*base, "--workers", "4", "--seeds", str(seeds), "--out", str(out), *argv]


def drive(out, *argv, seeds=JOBS, **environment):
    """A driver of stand-ins, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.suite_driver", *arguments(out, *argv, seeds=seeds)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VIOLATIONS": str(out.parent / "violations"), **environment},
        start_new_session=True,
    )


def runs_of(out):
    return list(plans.run_dirs(out))


def results(out):
    return [run for run in runs_of(out) if run.result.exists()]


def workers_of(out):
    """Live stand-ins with a run directory in `out`."""
    return running("tests.helpers.suite_training", out)


def kill(process, sig=signal.SIGKILL):
    """False if it has ended before."""
    try:
        process.send_signal(sig)
    except psutil.NoSuchProcess:
        return False
    return True


def expected(run):
    """What the chain of hashes of a run ends with."""
    value = run.config.read_text().splitlines()[0]
    for step in range(suite_training.STEPS):
        value = hashlib.sha256(f"{value} {step}".encode()).hexdigest()
    return value


def check(out, jobs=JOBS):
    """Every job is complete, once, with the result of an undisturbed run; nothing is left behind."""
    assert not (out.parent / "violations").exists(), (out.parent / "violations").read_text()
    runs = runs_of(out)
    assert len(runs) == jobs
    for run in runs:
        result = run.read_result()
        assert result is not None, run.path
        assert run.policy.read_text() == run.episodes.read_text() == expected(run)
        assert result["policy_sha256"] == sha256(run.policy)
    assert not workers_of(out)


def test_workers_and_drivers_killed_at_random(tmp_path):
    """SIGKILL of a worker every now and then, of the driver six times; the command is repeated until it succeeds."""
    out = tmp_path / "runs"
    out.mkdir()
    rng = random.Random(0)
    killed = {"worker": 0, "driver": 0}
    for share in (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0):
        driver = drive(out, "--retries", "100")
        while driver.poll() is None:
            time.sleep(rng.uniform(0.05, 0.4))
            done = len(results(out))
            if share < 1.0 and done >= share * JOBS:
                driver.kill()
                killed["driver"] += 1
                break
            # So many by what is done: where jobs take long, killing one now and then would let none of them end.
            if killed["worker"] <= done / 8 and (workers := workers_of(out)):
                killed["worker"] += kill(rng.choice(workers))
        driver.wait()
    assert driver.returncode == 0
    assert killed["driver"] >= 4, killed
    assert killed["worker"] >= 10, killed
    check(out)
    reasons = [f["reason"] for run in runs_of(out) for f in run.read_failures()]
    assert set(reasons) == {"killed by SIGKILL"}
    written = [run.result.stat().st_mtime_ns for run in runs_of(out)]
    assert drive(out).wait() == 0  # complete runs are left alone
    assert written == [run.result.stat().st_mtime_ns for run in runs_of(out)]


def test_drivers_share_a_folder_and_succeed_the_dead(tmp_path):
    """Three drivers at once, one of them killed, one with a clock that goes backwards."""
    out = tmp_path / "runs"
    out.mkdir()
    drivers = [drive(out, seeds=60), drive(out, seeds=60), drive(out, seeds=60, CLOCK="backwards")]
    wait_until(lambda: len(results(out)) > 10)
    drivers[0].kill()
    codes = [driver.wait() for driver in drivers]
    assert codes == [-signal.SIGKILL, 0, 0], drivers[1].stderr.read() + drivers[2].stderr.read()
    check(out, jobs=60)


def test_ctrl_c_stops_at_a_checkpoint_and_loses_nothing(tmp_path):
    out = tmp_path / "runs"
    out.mkdir()
    driver = drive(out, seeds=6, STEP_S="0.2")
    wait_until(lambda: sum((run.path / "state.json").exists() for run in runs_of(out)) == 4)
    driver.send_signal(signal.SIGINT)  # four are at the first of their five checkpoints
    assert driver.wait() == 130
    assert "continues from the last checkpoints" in driver.stderr.read()
    assert not workers_of(out)
    steps = [read_json(run.path / "state.json")["step"] for run in runs_of(out)]
    assert len(steps) == 4
    assert all(step < suite_training.STEPS and step % suite_training.EVERY == 0 for step in steps)
    assert not results(out)
    assert not any(run.read_failures() for run in runs_of(out))
    assert drive(out, seeds=6).wait() == 0
    check(out, jobs=6)


def test_a_hang_is_ended_and_tried_again(tmp_path):
    out = tmp_path / "runs"
    out.mkdir()
    assert drive(out, "--watchdog", "5", "--retries", "1", seeds=3, HANGS="seed1").wait() == 0
    check(out, jobs=3)
    failures = {run.path.name: [f["reason"] for f in run.read_failures()] for run in runs_of(out)}
    assert failures == {"seed0": [], "seed1": ["no progress for 5 s (--watchdog): ended"], "seed2": []}


# Real trainings.

SETTINGS = ["train.env_steps=32768", "train.checkpoints=8", "eval.episodes_per_grade=8", "train.min_envs=32"]


FULL = """
import errno, os
replace = os.replace
def no_room(source, target, **options):
    if str(target).endswith("last.ckpt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    replace(source, target, **options)
os.replace = no_room
"""


def real(out, *argv, **environment):
    command = ["--task", "toy-reach", "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--wandb", "disabled"]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.helpers.suite_driver",
            *command,
            "--workers",
            "1",
            "--out",
            str(out),
            *argv,
            *SETTINGS,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "REAL": "1", **environment},
        start_new_session=True,
    )


def run_in(out):
    (run,) = runs_of(out)
    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    driver = real(out)
    text, _ = driver.communicate()
    assert driver.returncode == 0, text
    return run_in(out)


def check_same(run, undisturbed):
    assert run.read_result() is not None
    assert sha256(run.policy) == sha256(undisturbed.policy)
    assert sha256(run.episodes) == sha256(undisturbed.episodes)
    steps = [pq.read_table(r.progress).column("env_steps").to_pylist() for r in (run, undisturbed)]
    assert steps[0] == steps[1]


def test_a_real_run_whose_every_process_is_killed(tmp_path, undisturbed):
    """The driver takes all that it started with it; of the others the driver learns, and tries again."""
    driver = real(tmp_path)
    run = RunDir(tmp_path / undisturbed.path.relative_to(undisturbed.path.parents[4]))
    checkpoint = run.checkpoint / "last.ckpt"
    wait_until(checkpoint.exists)
    driver.kill()
    driver.communicate()
    wait_until(lambda: not running("suite.runs.worker", run.path) and not running("suite.runs.training", run.path))
    assert not run.policy.exists()
    driver = real(tmp_path, "--retries", "5")
    kills = (
        ("suite.runs.training", signal.SIGSEGV),
        ("suite.runs.worker", signal.SIGKILL),
        ("suite.runs.rollout", signal.SIGKILL),
    )
    for count, (module, sig) in enumerate(kills, start=1):
        wait_until(lambda name=module, sig=sig: any(kill(found, sig) for found in running(name, run.path)))
        wait_until(lambda wanted=count: len(run.read_failures()) == wanted)
    text, _ = driver.communicate()
    assert driver.returncode == 0, text
    check_same(run, undisturbed)
    assert "continuing from the checkpoint" in run.log.read_text()
    reasons = [failure["reason"] for failure in run.read_failures()]
    assert reasons == ["killed by SIGSEGV", "killed by SIGKILL", "evaluation on torch: killed by SIGKILL"]
    assert run.read_result()["failures"] == run.read_failures()


def test_a_full_disk_loses_nothing(tmp_path, undisturbed):
    """There is no room for the checkpoint, in whatever process."""
    run = RunDir(tmp_path / undisturbed.path.relative_to(undisturbed.path.parents[4]))
    full = tmp_path / "full"
    full.mkdir()
    (full / "sitecustomize.py").write_text(FULL)
    path = os.pathsep.join([str(full), os.environ.get("PYTHONPATH", "")])
    driver = real(tmp_path, "--retries", "5", "--seeds", "2", PYTHONPATH=path)
    text, _ = driver.communicate()
    assert driver.returncode == 1, text
    assert len(run.read_failures()) == 1  # trying again would not help
    assert "No space left on device" in run.read_failures()[0]["reason"]
    assert not run.result.exists()
    assert not run.policy.exists()
    assert not run.path.with_name("seed1").exists()
    assert not list(run.checkpoint.iterdir())
    driver = real(tmp_path)
    text, _ = driver.communicate()
    assert driver.returncode == 0, text
    check_same(run, undisturbed)


def test_fewer_envs_after_the_gpu_was_full(tmp_path, undisturbed):
    """The third try of a run that the settings allow to halve its envs; it is recorded."""
    run = RunDir(tmp_path / undisturbed.path.relative_to(undisturbed.path.parents[4]))
    run.path.mkdir(parents=True)
    for reason in ("OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "killed by SIGKILL"):
        run.add_failure("cuda:0", reason)
    driver = real(tmp_path)
    text, _ = driver.communicate()
    assert driver.returncode == 0, text
    result = run.read_result()
    assert (result["num_envs"], undisturbed.read_result()["num_envs"]) == (64, 128)
    assert [failure["device"] for failure in result["failures"]] == ["cuda:0", "cuda:0"]
    assert result["env_steps"] == undisturbed.read_result()["env_steps"]
