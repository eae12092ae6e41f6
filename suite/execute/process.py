"""Processes of a run: how they are started, report, end with their parent, and leave a simulator behind."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from suite.cli import interrupt
from tasks.core.engines import PHYSX_THREADS

PARENT = "GRADUS_PARENT"
THREADS = 1  # of torch on the CPU: fixed, because sums depend on how they are split; more made small networks slower
TICK_S = 0.25
STOPPED, DISK_FULL, LEASE_LOST = 75, 74, 73
"""Exit codes: stopped on request with nothing lost, no space to write to, taken over by another process."""

_PR_SET_PDEATHSIG = 1
_NEWS = ("compiling ", "converting ")  # beginnings of lines in which `tasks` says what takes long

Event = dict[str, Any]


def start(arguments: Sequence[str], log: Path, own_session: bool, threads: int | None = None) -> subprocess.Popen:
    """Start `python -m ...` with its output appended to `log`; it ends when this process ends.

    In a session of its own it does not see Ctrl-C, and `stop` reaches all that it started. `threads` is how many
    threads PhysX may have in it, if that is not left to Isaac Lab.
    """
    environment = {**os.environ, PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1", "OMNI_KIT_ACCEPT_EULA": "YES"}
    if threads is not None:
        environment[PHYSX_THREADS] = str(threads)
    with open(log, "ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=own_session,
        )


class Child:
    """A process with a simulator: `python -m ARGUMENTS EVENTS`, which reports by JSON lines in the file EVENTS.

    Iterating gives the events as they come, and None where there was none for `TICK_S` seconds, until the process has
    ended; `code` is its exit code then.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        """`with` starts the process, and kills it at its end if it still runs. `log` takes its output."""
        self._arguments, self._log = arguments, log
        self.code: int | None = None

    def __enter__(self) -> Child:
        self._file = self._log.with_name(f".{self._log.stem}.events")
        self._file.write_text("", encoding="utf-8")
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self._process = start([*self._arguments, str(self._file)], self._log, own_session=False)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._file.unlink()

    def __iter__(self) -> Iterator[Event | None]:
        with open(self._file, encoding="utf-8") as file:
            line = ""
            while self.code is None:
                with suppress(subprocess.TimeoutExpired):
                    self.code = self._process.wait(TICK_S)
                quiet = True
                while part := file.readline():
                    line += part
                    if line.endswith("\n"):  # else it is still being written, or was cut off by a crash
                        yield json.loads(line)
                        line, quiet = "", False
                if quiet:
                    yield None

    def ask_to_stop(self) -> None:
        """Send SIGTERM; the process decides what to do."""
        self._process.terminate()

    def news(self) -> str:
        """What the simulator does while it starts, if that takes long: the last line that says so, or an empty text."""
        with open(self._log, "rb") as file:
            file.seek(self._log_start)
            lines = file.read(8192).decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith(_NEWS)), "")


def emitter(file: str) -> Callable[[Event], None]:
    """For a `Child`: a function that reports an event to the parent."""
    stream = open(file, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 (open until the process ends)
    return lambda event: print(json.dumps(event), file=stream)


def follow_parent(environment: Mapping[str, str] = os.environ) -> None:
    """Let this process be killed when its parent ends, even by SIGKILL: nobody would collect the outcome."""
    if PARENT not in environment:
        return  # started by hand
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(environment[PARENT]):  # it ended before the line above
        os._exit(1)


def take_signals(handler: Callable[[int, Any], None]) -> None:
    """Let SIGTERM call `handler`, and SIGHUP unless it is ignored, as under nohup."""
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


class StopRequest:
    """Whether SIGTERM or SIGHUP has come since this was made; the process goes on."""

    def __init__(self) -> None:
        self.came = False
        take_signals(self._note)

    def _note(self, signum: int, frame: object) -> None:
        self.came = True


def limit_threads(device: str) -> None:
    """Fix the number of threads on the CPU, and use its deterministic kernels. Imports torch."""
    import torch

    if device != "cpu":
        return
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True, warn_only=True)
    kernels: Any = torch.utils.deterministic
    kernels.fill_uninitialized_memory = False  # nothing here reads it


def leave(main: Callable[[], int]) -> None:
    """Run `main` and end the process at once.

    Simulators are not closed: some crash or hang in their clean-up, and Isaac Sim's ends the process.
    """
    interrupt.take_back()
    try:
        code = main()
    except SystemExit as done:  # argparse's --help
        code = int(done.code or 0)
    except BaseException as error:
        code = DISK_FULL if disk_is_full(error) else 1
        with suppress(OSError):  # where the disk is full, the log is too
            traceback.print_exc()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def disk_is_full(error: BaseException) -> bool:
    """True if an error says that there is no space; some libraries raise it as an error of their own."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def kill(process: subprocess.Popen) -> None:
    """Kill a process that `start` gave a session, and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def out_of_memory(reason: str) -> bool:
    """True if the GPU's memory was full, by the words of torch or of Warp."""
    return re.search(r"CUDA (error: )?out of memory|Failed to allocate \d+ bytes on device", reason) is not None


_LACKS = re.compile(
    "|".join(
        [
            r"out of memory|can('t|not) allocate memory|bad_alloc|alloc_failed|failed to allocate|memoryallocation",
            r"uncorrectable ecc error|busy or unavailable|no cuda-capable device",
            *(
                re.escape(os.strerror(number).lower())
                for number in (
                    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE),
                    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN),
                )
            ),
        ]
    )
)


def of_the_machine(error: BaseException | str) -> bool:
    """True for trouble of the machine: an `OSError`, no memory, or a text that speaks of either, or of a broken GPU.

    Libraries raise such things as errors of their own, so an error's causes count, too.
    """
    while isinstance(error, BaseException):
        if isinstance(error, OSError | MemoryError) or of_the_machine(str(error)):
            return True
        error = error.__cause__ or error.__context__ or ""
    return _LACKS.search(error.lower()) is not None


def reason(process_code: int, log: Path) -> str:
    """Why a process failed, in one line: the signal that ended it, a full disk, or the last line of its log."""
    if process_code == DISK_FULL:
        return f"{os.strerror(errno.ENOSPC)}: {log.parent}"
    if process_code < 0:
        try:
            name = signal.Signals(-process_code).name
        except ValueError:
            name = f"signal {-process_code}"
        return f"killed by {name}"
    return last_line(log) or f"exit code {process_code}"


def tail(log: Path) -> str:
    """The last 4 KiB of a log; empty where there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def last_line(log: Path) -> str:
    """The last non-empty line of a log, cut to a readable length."""
    lines = [line.strip() for line in tail(log).splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "")
