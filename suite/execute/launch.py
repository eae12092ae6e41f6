"""Launchers: what starts workers. The one for this machine is here, Ray's in `suite.execute.launch_ray`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from suite.execute import devices, process
from suite.execute.lease import Lease
from suite.runs.rundir import RunDir

WORKER = "suite.runs.worker"
NODE_LOST = -1000
"""Exit code of a worker of which nothing more will be heard, and which may still run: its machine is gone."""
OUT_OF_SIGHT = -1001
OUT_OF_SIGHT_REASON = "its machine does not see --out: name a folder that all machines share, or use --store URL"
"""Exit code where no worker was started, and why."""


class Attempt(Protocol):
    """A worker that was started."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""

    def stop(self) -> None:
        """Ask it to end at the next checkpoint."""

    def kill(self) -> None:
        """End it, and all that it started, at once; its slot is free then, or gone."""


class Launcher(Protocol):
    """Where workers run."""

    @property
    def devices(self) -> Sequence[str]:
        """One for each run that can be under way at the same time, as far as it is known."""
        ...

    def take(self) -> str | None:
        """The device of a free slot, or None if no slot is free."""

    def give_back(self, device: str) -> None:
        """Undo `take`, where nothing was started."""

    def start(self, device: str, run: RunDir, lease: Lease) -> Attempt:
        """Start the worker of a run, whose configuration is in its directory, in a slot that was taken."""
        ...

    def close(self) -> None:
        """End what is left."""


def worker_arguments(run: Path, watchdog_s: float, generation: int | None) -> list[str]:
    """Arguments of `python -m`; without a lease's generation the worker takes one itself."""
    held = [] if generation is None else ["--lease", str(generation)]
    return [WORKER, str(run), "--watchdog", str(watchdog_s), *held]


class Local:
    """Worker processes on this machine, one in each slot."""

    def __init__(self, slots: Sequence[str], watchdog_s: float) -> None:
        """`slots` are devices; one that is named twice has two workers at a time."""
        self.devices = list(slots)
        self._free = list(slots)
        self._watchdog = watchdog_s

    def take(self) -> str | None:
        """The device of a free slot, or None while there is none."""
        return self._free.pop(0) if self._free else None

    def give_back(self, device: str) -> None:
        """Make the slot free again."""
        self._free.append(device)

    def start(self, device: str, run: RunDir, lease: Lease) -> LocalAttempt:
        """Start a process with its share of the cores."""
        arguments = worker_arguments(run.path, self._watchdog, lease.generation)
        share = devices.cores() // len(self.devices)
        threads = share if share > 1 else int(device != "cpu")  # a GPU's simulation has to have one
        return LocalAttempt(self, device, process.start(arguments, run.log, own_session=True, threads=threads))

    def close(self) -> None:
        """End nothing: each worker ends with its attempt."""


class LocalAttempt:
    """A worker on this machine."""

    def __init__(self, launcher: Local, device: str, worker: subprocess.Popen[bytes]) -> None:
        """`worker` occupies a slot of `launcher` until `poll` says that it has ended."""
        self._launcher, self._device, self._worker = launcher, device, worker
        self._ended = False

    def poll(self) -> int | None:
        """The exit code, or None while the process runs. When it has ended, its slot becomes free."""
        code = self._worker.poll()
        if code is not None and not self._ended:
            self._ended = True
            process.kill(self._worker)  # what it may have left behind
            self._launcher.give_back(self._device)
        return code

    def stop(self) -> None:
        """Send SIGTERM: the worker ends at its next checkpoint."""
        self._worker.terminate()

    def kill(self) -> None:
        """Kill the process and its children, and free the slot."""
        process.kill(self._worker)
        self._worker.wait()
        self.poll()
