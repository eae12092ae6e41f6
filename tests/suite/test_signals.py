"""Signals that ask a run to end: whenever they come, it ends with the code that says so, and nothing is lost."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from suite.execute import process, scheduler
from suite.execute.process import StopRequest
from suite.runs import worker


@pytest.fixture(autouse=True)
def handlers():
    """Put back what a test has taken."""
    taken = {sig: signal.getsignal(sig) for sig in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    yield
    for sig, handler in taken.items():
        signal.signal(sig, handler)


def now(sig=signal.SIGTERM):
    os.kill(os.getpid(), sig)


@pytest.mark.parametrize("moment", ["stop", "report", "work", "failure"])
def test_a_worker_that_is_stopped_at_any_moment_says_so(tmp_path, monkeypatch, moment):
    monkeypatch.setattr(sys, "argv", ["suite.runs.worker", str(tmp_path)])
    monkeypatch.setattr(worker.configs, "load", lambda run: SimpleNamespace(train=SimpleNamespace(env_steps=1)))
    monkeypatch.setattr(worker.process, "follow_parent", lambda: None)
    monkeypatch.setattr(worker, "Guard", lambda *args: SimpleNamespace(progress=lambda slow: None, start=lambda: None))
    stop, call = worker.Stop.__init__, worker.Status.__call__

    def taken(self, *args):
        stop(self, *args)
        if moment == "stop":
            now()

    def reported(self, state, **fields):
        call(self, state, **fields)
        if moment == {"starting": "report", "failed": "failure"}.get(state):
            now()

    def work(*args):
        if moment == "work":
            now()
        raise worker.RunError("made up")

    monkeypatch.setattr(worker.Stop, "__init__", taken)
    monkeypatch.setattr(worker.Status, "__call__", reported)
    monkeypatch.setattr(worker, "_finish", work)
    assert worker.main() == process.STOPPED
    assert (tmp_path / ".lease.1").read_text() == ""


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP])
def test_a_training_and_a_driver_are_asked_to_stop(sig):
    request = StopRequest()
    now(sig)
    assert request.came
    with scheduler._Signals() as signals:
        now(sig)
        assert signals.count == 1


def test_under_nohup_a_hangup_is_ignored():
    code = (
        "import os, signal; from suite.execute import process, scheduler;"
        "request = process.StopRequest(); os.kill(os.getpid(), signal.SIGHUP);"
        "signals = scheduler._Signals().__enter__(); os.kill(os.getpid(), signal.SIGHUP);"
        "print(request.came, signals.count)"
    )
    done = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "0"]
