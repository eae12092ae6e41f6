"""The launcher over Ray Core: workers on every machine of a cluster, in slots of a (part of a) GPU or of a CPU core.

A slot is an actor that keeps its share of a machine and runs one worker process after the other. The run directories
are on a file system that all machines see, or, with a store, in a scratch folder that is exchanged through an URL.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import suite
from suite.errors import UserError, first_line
from suite.execute import process
from suite.execute.launch import NODE_LOST, OUT_OF_SIGHT, worker_arguments
from suite.execute.lease import Lease
from suite.execute.store import Store
from suite.runs.rundir import RunDir, read_json, write_status

CONNECT_S = 5.0  # [s] in which a cluster has to answer
_SCRATCH = "SCRATCH"  # stands in arguments for a folder that the slot makes
LOOK_S = 2.0  # [s] between two looks at the cluster's machines, and between two exchanges with a store


def _ray() -> Any:
    # No usage reports; and CUDA_VISIBLE_DEVICES as it is in workers that asked for no GPU, without a warning about it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UserError("--launcher ray needs Ray: install it with `uv sync --extra ray`") from None
    return ray


def slots(address: str | None, device: str, jobs_per_gpu: int, workers: int | None, store: str | None) -> list[str]:
    """Connect, and return a device for each run that the cluster can have under way now.

    Raises:
        UserError: if Ray is not installed, the cluster does not answer, the device is none of it, or the URL is none.
    """
    if device not in ("auto", "cpu"):
        raise UserError(f"--launcher ray places runs itself; use --device auto or cpu, not {device}")
    if store is not None:
        Store(store)
    ray = _ray()
    if not ray.is_initialized():
        _connect(ray, address)
    gpus, cpus = _room(ray, jobs_per_gpu)
    if device == "auto" and gpus:
        return ["cuda:0"] * gpus  # Ray shows a worker only its own
    return ["cpu"] * (workers or max(1, cpus))


def _connect(ray: Any, address: str | None) -> None:
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:  # without "local" Ray takes any cluster that it finds on this machine
        ray.init(address="local", include_dashboard=False, **options)
        return
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdecimal()):
        raise UserError(f"--ray-address must be HOST:PORT or auto, got {address!r}")
    try:
        if address != "auto":
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        ray.init(address=address, **options)
    except (OSError, ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the Ray cluster at {address} does not answer ({first_line(error)});"
            " start it with `ray start --head --port PORT`, or name another --ray-address"
        ) from None


def _room(ray: Any, jobs_per_gpu: int) -> tuple[int, int]:
    """How many runs fit on the GPUs of the cluster, and how many on its CPUs."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    return gpus * jobs_per_gpu, sum(int(node.get("CPU", 0)) for node in nodes)


class Ray:
    """Workers on the machines of a Ray cluster. Machines that join get slots, those that are lost lose theirs."""

    def __init__(
        self, devices: Sequence[str], jobs_per_gpu: int, watchdog_s: float, out: Path, store: str | None
    ) -> None:
        """`devices` has an entry per slot. With a store, complete runs that are only there are fetched first."""
        self._ray = _ray()
        self.devices = list(devices)
        self._jobs_per_gpu, self._watchdog, self._store, self._out = jobs_per_gpu, watchdog_s, store, out
        self._gpu = devices[0] != "cpu"
        self._limit = len(devices)
        self._idle: list[Any] = []
        self._pending: dict[Any, Any] = {}  # a slot's first answer, and the slot
        self._busy: list[Any] = []
        self._looked = -LOOK_S
        if store is not None:
            Store(store).fetch_complete(out)

    def take(self) -> str | None:
        """The device of a free slot, or None while there is none."""
        self._look()
        return self.devices[0] if self._idle else None

    def give_back(self, device: str) -> None:
        """Do nothing: `take` reserves no slot."""

    def _look(self) -> None:
        if self._pending:
            ready, _ = self._ray.wait(list(self._pending), num_returns=len(self._pending), timeout=0)
            for first in ready:
                slot = self._pending.pop(first)
                with suppress(self._ray.exceptions.RayError):
                    self._ray.get(first)
                    self._idle.append(slot)
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        room = _room(self._ray, self._jobs_per_gpu)[0 if self._gpu else 1]
        if not self._gpu:
            room = min(room, self._limit)
        for _ in range(room - len(self._idle) - len(self._pending) - len(self._busy)):
            gpu = 1 / self._jobs_per_gpu if self._gpu else 0
            options = {"num_cpus": 1, "num_gpus": gpu, "max_concurrency": 4, "scheduling_strategy": "SPREAD"}
            actor = self._ray.remote(Slot).options(**options)
            slot = actor.remote(os.path.dirname(os.path.dirname(suite.__file__)))
            self._pending[slot.ready.remote()] = slot

    def start(self, device: str, run: RunDir, lease: Lease) -> RayAttempt:
        """Start the worker in a free slot; with a store, the slot gets the files that it needs."""
        slot = self._idle.pop(0)
        self._busy.append(slot)
        if self._store is None:
            path = run.path.resolve()
            ref = slot.run.remote(str(path), worker_arguments(path, self._watchdog, lease.generation))
        else:
            files = {file.name: file.read_bytes() for file in (run.config, run.failures) if file.exists()}
            name = run.path.relative_to(self._out).as_posix()
            arguments = worker_arguments(Path(_SCRATCH), self._watchdog, None)
            ref = slot.run_with_store.remote(name, files, arguments, self._store)
        return RayAttempt(self, slot, ref, run)

    def ended(self, slot: Any, lost: bool) -> None:
        """Free a slot, or forget it if it was lost."""
        self._busy.remove(slot)
        if not lost:
            self._idle.append(slot)

    def fetch(self, run: RunDir) -> None:
        """Bring what a worker left in the store into the run directory."""
        if self._store is not None:
            Store(self._store).pull(run.path.relative_to(self._out).as_posix(), run.path)

    @property
    def shares_files(self) -> bool:
        """True if the workers write into the run directories themselves."""
        return self._store is None

    def close(self) -> None:
        """End all slots, and the workers in them."""
        for slot in (*self._idle, *self._busy, *self._pending.values()):
            self._ray.kill(slot)


class RayAttempt:
    """A worker in a slot of the cluster."""

    def __init__(self, launcher: Ray, slot: Any, ref: Any, run: RunDir) -> None:
        """`ref` is Ray's reference to the exit code."""
        self._ray, self._launcher, self._slot, self._ref, self._run = launcher._ray, launcher, slot, ref, run
        self._code: int | None = None
        self._status: Any = None
        self._asked = time.monotonic()

    def poll(self) -> int | None:
        """The exit code, or None while the worker runs. Without shared files its status is fetched meanwhile."""
        if self._code is None:
            if self._ray.wait([self._ref], timeout=0)[0]:
                self._end()
            elif not self._launcher.shares_files:
                self._mirror_status()
        return self._code

    def _end(self) -> None:
        exceptions = self._ray.exceptions
        try:
            code = self._ray.get(self._ref)
            self._launcher.fetch(self._run)
        except Exception as error:  # each store has errors of its own; they cost this try, no other run and no slot
            if isinstance(error, exceptions.RayError) and not isinstance(error, exceptions.RayTaskError):
                code = NODE_LOST
            else:
                cause = getattr(error, "cause", None) or error
                code = process.DISK_FULL if process.disk_is_full(cause) else 1
                with suppress(OSError), open(self._run.log, "a", encoding="utf-8") as log:
                    print(f"the slot failed: {first_line(cause)}", file=log)
        self._finish(code)

    def _finish(self, code: int) -> None:
        self._code = code
        self._launcher.ended(self._slot, lost=code == NODE_LOST)

    def _mirror_status(self) -> None:
        if self._status is not None and self._ray.wait([self._status], timeout=0)[0]:
            ref, self._status = self._status, None
            with suppress(self._ray.exceptions.RayError, OSError):
                if status := self._ray.get(ref):
                    write_status(self._run.status, **status)
        elif self._status is None and time.monotonic() - self._asked > LOOK_S:
            self._status, self._asked = self._slot.status.remote(), time.monotonic()

    def stop(self) -> None:
        """Ask the worker to end at its next checkpoint."""
        self._slot.stop.remote()

    def kill(self) -> None:
        """End the slot and the worker in it."""
        self._ray.kill(self._slot)
        if self._code is None:
            self._finish(NODE_LOST)


class Slot:
    """Runs workers on a machine of the cluster, one at a time. All but the two that run a worker return at once."""

    def __init__(self, root: str) -> None:
        """`root` is the folder of the packages, for machines where they are not installed."""
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        if gpus := _ray().get_gpu_ids():
            # Ray does so itself, unless RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES tells it not to.
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        self._worker: subprocess.Popen[bytes] | None = None
        self._run: RunDir | None = None

    def ready(self) -> None:
        """Return once the slot has its place."""

    def run(self, path: str, arguments: list[str]) -> int:
        """Exit code of a worker in a directory that all machines see."""
        run = RunDir(Path(path))
        if not run.config.exists():
            return OUT_OF_SIGHT
        return self._finish(self._begin(run, arguments))

    def run_with_store(self, name: str, files: dict[str, bytes], arguments: list[str], url: str) -> int:
        """Exit code of a worker that continues from the run's files in the store, and leaves its own there."""
        store = Store(url)
        folder = Path(tempfile.mkdtemp(prefix="gradus-"))
        try:
            store.pull(name, folder)
            for file, content in files.items():
                (folder / file).write_bytes(content)
            worker = self._begin(RunDir(folder), [str(folder) if text == _SCRATCH else text for text in arguments])
            pushed = 0.0
            while worker.poll() is None:
                time.sleep(process.TICK_S)
                if time.monotonic() - pushed > LOOK_S:
                    with suppress(Exception):  # each store has errors of its own, and the next try may succeed
                        store.push_progress(RunDir(folder), name)
                    pushed = time.monotonic()
            code = self._finish(worker)
            store.push(RunDir(folder), name)
            return code
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _begin(self, run: RunDir, arguments: list[str]) -> subprocess.Popen[bytes]:
        self._run = run
        self._worker = process.start(arguments, run.log, own_session=True)
        return self._worker

    def _finish(self, worker: subprocess.Popen[bytes]) -> int:
        code = worker.wait()
        process.kill(worker)  # what it may have left behind
        self._worker = None
        return code

    def status(self) -> dict[str, Any] | None:
        """Content of the status.json of the run under way."""
        return read_json(self._run.status) if self._run else None

    def stop(self) -> None:
        """Ask the worker to end at its next checkpoint."""
        if self._worker is not None:
            self._worker.terminate()
