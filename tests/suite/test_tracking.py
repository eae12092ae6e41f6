"""What W&B gets from runs that stop, fail, continue, or have no network. The real client, offline."""

import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suite.cli import arguments
from suite.execute import process
from suite.plan.matrix import plan
from suite.runs.rundir import read_json
from suite.tracking import tracker as tracking
from tests.helpers import wandb_files

RESULT = {"env_steps": 50, "wall_time_s": 1.0, "evaluation_time_s": 1.0, "policy_sha256": "a", "episodes_sha256": "b"}
RESULT |= {"success": {"g1": 1.0}, "return": {"g1": 1.0}, "episodes": {"g1": 1}}


def a_run(out, *argv):
    argv = ["--task", "toy-reach", "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--out", str(out), *argv]
    (job,) = plan(arguments.parse(argv)[0])
    job.run.path.mkdir(parents=True, exist_ok=True)
    return job.config("cpu"), job.run


def rows(*steps):
    return [{"env_steps": step, "return_mean": float(step)} for step in steps]


def save(run, *steps):
    pq.write_table(pa.Table.from_pylist(rows(*steps)), run.progress)
    pq.write_table(pa.table({"grade": ["g1"], "success": [True], "return": [1.0]}), run.episodes)


def logged(run):
    """The only offline run that there is: env steps of its curve, all its steps, and its exit codes."""
    (file,) = run.path.glob("wandb/offline-run-*/run-*.wandb")
    records = wandb_files.read(file)
    history = wandb_files.history(records)
    curve = [row["env_steps"] for row in history if "return_mean" in row]
    return curve, [row["_step"] for row in history], wandb_files.exit_codes(records)


@pytest.fixture
def tracker(monkeypatch):
    import wandb

    wandb.teardown()  # a session keeps what the environment was when it began
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    monkeypatch.setattr(tracking, "CONNECT_S", 2.0)
    made = []

    def make(config, run):
        made.append(tracking.Tracker())
        made[-1].start(config, run)
        return made[-1]

    yield make
    for one in made:
        one.end(1)


def test_the_key_of_the_clients_own_host_is_found(tmp_path, monkeypatch):
    from wandb.sdk.lib import urls

    keys = tmp_path / "netrc"
    keys.write_text(f"machine {urlsplit(urls.DEFAULT_BASE_URL).netloc}\n  login user\n  password 0123\n")
    keys.chmod(0o600)
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(keys))
    assert tracking.login() == str(keys)
    keys.write_text("default\n  login user\n  password 0123\n")  # for whatever host is not named: no login at W&B
    assert tracking.login() is None


@pytest.mark.parametrize("code", [process.STOPPED, 1])
def test_a_run_that_ends_early_leaves_its_rows_and_its_exit_code(tmp_path, tracker, code):
    config, run = a_run(tmp_path, "--wandb", "offline")
    stopped = tracker(config, run)
    for row in rows(10, 20, 30):
        stopped.log(row)
    stopped.end(code)
    assert logged(run) == ([10, 20, 30], [0, 1, 2], [code])


def test_a_run_that_continues_offline_ends_as_one_whole_run(tmp_path, tracker):
    config, run = a_run(tmp_path, "--wandb", "offline")
    first = tracker(config, run)
    for row in rows(10, 20):
        first.log(row)
    first.end(process.STOPPED)
    save(run, 10, 20, 30)  # the last row never came to W&B
    time.sleep(1.1)  # W&B names its folders by the second
    second = tracker(config, run)
    for row in rows(30, 40, 50):  # from the checkpoint on
        second.log(row)
    save(run, 10, 20, 30, 40, 50)
    second.finish(run, RESULT, [])
    assert logged(run) == ([10, 20, 30, 40, 50], [0, 1, 2, 3, 4, 5], [0])


def test_what_an_online_run_lacks_is_sent_when_it_continues(tmp_path, tracker, monkeypatch):
    sent = []

    class Run:
        resumed, summary, id = True, {"env_steps": 20}, "abc"
        settings = SimpleNamespace(sync_dir=tmp_path / "wandb" / "run-1-abc")

        def define_metric(self, *args, **options):
            pass

        def log(self, row):
            sent.append(row["env_steps"])

        def finish(self, exit_code):
            sent.append(f"exit {exit_code}")

    monkeypatch.setattr("wandb.init", lambda **options: Run())
    monkeypatch.setattr(tracking, "login", lambda: "WANDB_API_KEY")
    config, run = a_run(tmp_path, "--wandb", "online")
    save(run, 10, 20, 30)
    continued = tracker(config, run)
    for row in rows(30, 40):
        continued.log(row)
    continued.end(1)
    assert sent == [30, 40, "exit 1"]


def test_without_a_network_the_log_goes_to_the_disk(tmp_path, tracker, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        config, run = a_run(tmp_path, "--wandb", "online")
        start = time.monotonic()
        lost = tracker(config, run)
        assert time.monotonic() - start < 30
        for row in rows(10, 20):
            lost.log(row)
        save(run, 10, 20)
        lost.finish(run, RESULT, [])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B")]
    assert line.startswith(f"W&B cannot be reached, logging offline into {run.path / 'wandb'}: ")
    assert logged(run) == ([10, 20], [0, 1, 2], [0])


@pytest.mark.faults
def test_a_training_that_was_stopped_and_continued_is_one_whole_offline_run(tmp_path):
    argv = ["--task", "toy-reach", "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--wandb", "offline"]
    argv += ["--out", str(tmp_path), "train.env_steps=300000", "train.checkpoints=16", "eval.episodes_per_grade=16"]
    command = [sys.executable, "-m", "suite.run", *argv]
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_DATA_DIR"}
    (job,) = plan(arguments.parse(argv)[0])
    run = job.run
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not run.checkpoint.joinpath("last.ckpt").exists():
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 130
    before, steps, codes = logged(run)
    saved = [row["env_steps"] for row in pq.read_table(run.progress).to_pylist() if row["episodes"]]
    assert saved[-1] < 300_000
    assert (before, codes) == (saved, [process.STOPPED])
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    curve, steps, codes = logged(run)
    assert curve == [row["env_steps"] for row in pq.read_table(run.progress).to_pylist() if row["episodes"]]
    assert steps == list(range(len(steps)))
    assert codes == [0]
    assert read_json(run.status)["state"] == "complete"
