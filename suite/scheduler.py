"""Executes a plan with worker processes on this machine, one per slot."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from subprocess import Popen
from typing import Any

from suite import config as configs
from suite import process
from suite.display import Display
from suite.matrix import Job
from suite.rundir import read_json, write_status

WORKER = "suite.worker"
POLL_S = 0.2
GRACE_S = 5.0  # [s] between asking a worker to stop and killing it


@dataclass
class Tracked:
    """A job and where it stands: queued, starting, training, evaluating, complete, skipped, failed or stopped."""

    job: Job
    state: str = "queued"
    status: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    device: str = ""
    worker: Popen | None = None

    def refresh(self) -> None:
        """Read what the worker reports."""
        status = read_json(self.job.run.status)
        if status is None or status.get("state") not in ("starting", "training", "evaluating"):
            return
        self.status, self.state, self.message = status, status["state"], status.get("message") or ""


def execute(jobs: Sequence[Job], slots: Sequence[str], display: Display) -> list[Tracked]:
    """Run every job that is not complete; one that fails does not stop the others.

    Ctrl-C and SIGTERM stop the workers and raise `KeyboardInterrupt`; what was trained up to the last checkpoint is
    kept. A second one kills them at once.
    """
    tracked = [Tracked(job, state="skipped" if job.complete else "queued") for job in jobs]
    queue = [t for t in tracked if t.state == "queued"]
    free = list(slots)
    running: list[Tracked] = []
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with display:
            while queue or running:
                while queue and free:
                    running.append(_start(queue.pop(0), free.pop(0)))
                for t in running:
                    t.refresh()
                for t in [t for t in running if t.worker.poll() is not None]:
                    _collect(t)
                    running.remove(t)
                    free.append(t.device)
                display.update(tracked)
                if running:
                    time.sleep(POLL_S)
    finally:
        _stop(running)
        signal.signal(signal.SIGTERM, previous)
    return tracked


def _start(t: Tracked, device: str) -> Tracked:
    run = t.job.run
    run.path.mkdir(parents=True, exist_ok=True)
    configs.save(t.job.config(device), run)
    run.status.unlink(missing_ok=True)  # of an earlier try
    t.state, t.device = "starting", device
    t.worker = process.start([WORKER, str(run.path)], run.log, own_session=True)
    return t


def _collect(t: Tracked) -> None:
    """The result decides, not the exit code: simulators crash when they are closed."""
    run = t.job.run
    process.stop(t.worker, signal.SIGKILL)  # what it may have left behind
    status = read_json(run.status) or {}
    if result := run.read_result():
        t.state, t.message = "complete", ""
        t.status = status | {"env_steps": result["env_steps"], "eta_s": None}
        return
    t.state = "failed"
    if status.get("state") == "failed":
        t.message = status["message"]
    else:
        t.message = process.reason(t.worker.returncode, run.log)
        write_status(run.status, **status | {"state": "failed", "message": t.message})
    t.status = status


def _stop(running: Sequence[Tracked]) -> None:
    """Ask the workers to stop, kill those that do not, and say so in their status."""
    for t in running:
        process.stop(t.worker)
    deadline = time.monotonic() + GRACE_S
    try:
        while any(t.worker.poll() is None for t in running) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        for t in running:
            process.stop(t.worker, signal.SIGKILL)
            t.worker.wait()
            t.state, t.message = "stopped", "stopped; the same command continues from the last checkpoint"
            status = read_json(t.job.run.status) or {}
            write_status(t.job.run.status, **status | {"state": "queued", "message": t.message})
