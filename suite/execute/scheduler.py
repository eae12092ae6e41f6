"""The driver: gives the jobs of a plan to a launcher, one lease each, until all of them are complete or have failed."""

from __future__ import annotations

import re
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from suite.errors import first_line
from suite.execute import process
from suite.execute.launch import NODE_LOST, OUT_OF_SIGHT, OUT_OF_SIGHT_REASON, Attempt, Launcher
from suite.execute.lease import LEASE_S, Claimant, Lease, Lost
from suite.plan import config as configs
from suite.plan.matrix import Job
from suite.report.display import ACTIVE, Display
from suite.runs.rundir import read_json, write_status

POLL_S = 0.2  # [s] between two looks at the workers
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception)\b")  # the last line of a traceback
_MACHINE = re.compile(r"OSError|Connection|Timeout|BrokenPipe|Permission|FileNotFound|MemoryError|CUDA|Errno")
LOOK_S = 2.0  # [s] between two looks at runs that somebody else works on


@dataclass(eq=False)
class Tracked:
    """A job and where it stands.

    States: queued, starting, training, evaluating, complete, skipped (it was complete before), failed, stopped, and
    elsewhere (another command works on it).
    """

    job: Job
    state: str = "queued"
    status: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    device: str = ""
    failures: int = 0  # of this command
    exception: tuple[str, int] | None = None  # that ended the last try, and at which env step
    lease: Lease | None = None
    claimant: Claimant | None = None

    def refresh(self) -> None:
        """Read the worker's report."""
        status = read_json(self.job.run.status)
        if status is None or status.get("state") not in ACTIVE:
            return
        self.status, self.state, self.message = status, status["state"], status.get("message") or ""


def execute(
    jobs: Sequence[Job], launcher: Launcher, display: Display, retries: int = 0, wait: bool = True
) -> list[Tracked]:
    """Run every job that is not complete; one that fails is tried `retries` times more and does not stop the others.

    A job that another command works on is taken over if that command dies; with `wait` this returns only when none
    is left of them. Ctrl-C, SIGTERM and SIGHUP let the workers end at their next checkpoints, and raise
    `KeyboardInterrupt` then; a second one kills them at once.
    """
    return _Driver(jobs, launcher, display, retries, wait).run()


class _Signals:
    """Counts Ctrl-C, SIGTERM and SIGHUP instead of raising, so that nothing is left half-done."""

    def __enter__(self) -> _Signals:
        self.count = 0
        taken = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # under nohup
            taken.remove(signal.SIGHUP)
        self._previous = {sig: signal.signal(sig, self._note) for sig in taken}
        return self

    def _note(self, signum: int, frame: object) -> None:
        self.count += 1

    def __exit__(self, *error: object) -> None:
        for sig, handler in self._previous.items():
            signal.signal(sig, handler)


def _exception(reason: str, status: dict[str, Any]) -> tuple[str, int] | None:
    """What makes two failures the same: an exception of the run's own, and its step. None for what may not repeat."""
    if not _EXCEPTION.match(reason) or _MACHINE.search(reason) or process.out_of_memory(reason):
        return None
    return reason, status.get("env_steps") or 0


class _Driver:
    def __init__(self, jobs: Sequence[Job], launcher: Launcher, display: Display, retries: int, wait: bool) -> None:
        self._tracked = [Tracked(job, state="skipped" if job.complete else "queued") for job in jobs]
        self._queue = deque(t for t in self._tracked if t.state == "queued")
        self._running: dict[Tracked, tuple[Attempt, Lease]] = {}
        self._elsewhere: list[Tracked] = []
        self._launcher, self._display, self._retries, self._wait = launcher, display, retries, wait
        self._stopping = False
        self._full = ""  # why nothing can be written any more
        self._looked = time.monotonic()

    def run(self) -> list[Tracked]:
        try:
            with _Signals() as signals, self._display:
                while self._running or self._has_work():
                    if signals.count and not self._stopping:
                        self._stop()
                    if signals.count > 1:
                        break
                    self._start_some()
                    self._look_at_running()
                    self._look_elsewhere()
                    self._display.update(self._tracked)
                    if self._running or self._has_work():
                        time.sleep(POLL_S)
                self._kill()
                self._display.update(self._tracked)
        finally:
            self._kill()  # after an error in here
            self._launcher.close()
        if signals.count:
            raise KeyboardInterrupt
        return self._tracked

    def _has_work(self) -> bool:
        if self._stopping or self._full:
            return False
        return bool(self._queue) or (self._wait and bool(self._elsewhere))

    def _start_some(self) -> None:
        while self._queue and not self._stopping and not self._full:
            device = self._launcher.take()
            if device is None:
                return
            t = self._queue.popleft()
            try:
                started = self._start(t, device)
            except OSError as error:
                started = False
                self._failed(t, first_line(error), process.disk_is_full(error))
            if not started:
                self._launcher.give_back(device)

    def _start(self, t: Tracked, device: str) -> bool:
        """False if somebody else works on the job, or has finished it."""
        run = t.job.run
        t.lease = None
        run.path.mkdir(parents=True, exist_ok=True)
        t.claimant = t.claimant or Claimant(run.path)
        if run.read_result() is None:
            t.lease = t.claimant.claim()
        if (result := run.read_result()) is not None:  # since the plan was made, or since the line before the last
            self._complete(t, result)
            return False
        if t.lease is None:
            self._taken(t)
            return False
        configs.save(t.job.config(device), run)
        run.status.unlink(missing_ok=True)  # of an earlier try
        t.state, t.device, t.status = "starting", device, {}
        self._running[t] = self._launcher.start(device, run, t.lease), t.lease
        return True

    def _look_at_running(self) -> None:
        for t, (attempt, lease) in list(self._running.items()):
            code = attempt.poll()
            if code is None:
                t.refresh()
                self._keep(t, attempt, lease)
            else:
                del self._running[t]
                self._collect(t, code)

    def _keep(self, t: Tracked, attempt: Attempt, lease: Lease) -> None:
        """Keep the lease, also for a worker that does not hold it yet."""
        try:
            lease.beat()
        except Lost:
            attempt.kill()
            del self._running[t]
            self._taken(t)
        except OSError:
            pass  # the worker ends by itself if that lasts

    def _collect(self, t: Tracked, code: int) -> None:
        """The result decides, not the exit code: simulators crash when they are closed."""
        run = t.job.run
        if (result := run.read_result()) is not None:
            self._complete(t, result)
            return
        status = read_json(run.status) or {}
        if code == process.LEASE_LOST:
            self._taken(t)
            return
        if self._stopping and status.get("state") != "failed":
            self._stopped(t)
            return
        reason = status["message"] if status.get("state") == "failed" else process.reason(code, run.log)
        reason = {NODE_LOST: "its machine was lost", OUT_OF_SIGHT: OUT_OF_SIGHT_REASON}.get(code, reason)
        self._failed(t, reason, code == process.DISK_FULL, lost=code == NODE_LOST)

    def _taken(self, t: Tracked) -> None:
        t.state, t.message = "elsewhere", "another command works on it"
        if t.claimant is not None and t.claimant.damaged:
            t.message = f"its lease is damaged: taken over after {LEASE_S:.0f} s without a sign of life"
        self._elsewhere.append(t)

    def _complete(self, t: Tracked, result: dict[str, Any]) -> None:
        if t.lease is not None:
            t.lease.give_back()
        t.state, t.message = "complete", ""
        t.status = (read_json(t.job.run.status) or {}) | {"env_steps": result["env_steps"], "eta_s": None}

    def _failed(self, t: Tracked, reason: str, disk_full: bool, lost: bool = False) -> None:
        """Keep the reason, and queue the job again if it has tries left."""
        run = t.job.run
        t.failures += 1
        t.status = read_json(run.status) or t.status
        before, t.exception = t.exception, _exception(reason, t.status)
        twice = before is not None and before == t.exception  # then a further try ends like these
        again = t.failures <= self._retries and not self._stopping and not disk_full and not twice
        message = f"{reason} (twice at the same step, so it is not tried again)" if twice else reason
        t.state, t.message = ("queued" if again else "failed"), message
        with suppress(OSError):
            run.add_failure(t.device, reason)
            write_status(run.status, **t.status | {"state": t.state, "message": message})
        # Of a lost machine nobody knows whether it still works: a lease that is there has to end by itself.
        if t.lease is not None and (not lost or t.lease.held_here()):
            t.lease.give_back()
        if disk_full:
            self._full = reason
        if again:
            self._queue.append(t)

    def _look_elsewhere(self) -> None:
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        for t in list(self._elsewhere):
            if t.job.run.read_result() is not None:
                t.state, t.message = "complete", "by another command"
                t.status = read_json(t.job.run.status) or {}
                self._elsewhere.remove(t)
                continue
            t.status = read_json(t.job.run.status) or {}
            with suppress(OSError):  # a file system that does not answer is asked again
                if t.claimant is not None and t.claimant.free():
                    t.state, t.message = "queued", ""
                    self._elsewhere.remove(t)
                    self._queue.append(t)

    def _stop(self) -> None:
        self._stopping = True
        for attempt, _ in self._running.values():
            attempt.stop()

    def _stopped(self, t: Tracked) -> None:
        t.state, t.message = "stopped", "the same command continues from the last checkpoint"
        status = read_json(t.job.run.status) or {}
        with suppress(OSError):
            write_status(t.job.run.status, **status | {"state": "queued", "message": f"stopped; {t.message}"})
        if t.lease is not None:
            t.lease.give_back()

    def _kill(self) -> None:
        while self._running:
            t, (attempt, _) = self._running.popitem()
            attempt.kill()
            if (result := t.job.run.read_result()) is not None:
                self._complete(t, result)
            else:
                self._stopped(t)
