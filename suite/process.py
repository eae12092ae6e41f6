"""Processes of a run: they end with their parent, compute the same on any machine's CPU, and leave without a trace."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PARENT = "GRADUS_PARENT"
THREADS = 1  # of torch on the CPU: fixed, because sums depend on how they are split; more made small networks slower
_PR_SET_PDEATHSIG = 1
_NEWS = ("compiling ", "converting ")  # beginnings of lines in which `tasks` says what takes long


def start(arguments: Sequence[str], log: Path, own_session: bool) -> subprocess.Popen:
    """Start `python -m ...` with its output appended to `log`; it ends when this process ends.

    In a session of its own it does not see Ctrl-C, and `stop` reaches all that it started.
    """
    environment = {**os.environ, PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1", "OMNI_KIT_ACCEPT_EULA": "YES"}
    with open(log, "ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=own_session,
        )


def follow_parent(environment: Mapping[str, str] = os.environ) -> None:
    """Be killed when the process that started this one ends, even by SIGKILL: nobody would collect the outcome."""
    if PARENT not in environment:
        return  # started by hand
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(environment[PARENT]):  # it ended before the line above
        os._exit(1)


def limit_threads(device: str) -> None:
    """Fix the number of threads on the CPU, and use its deterministic kernels. Imports torch."""
    import torch

    if device != "cpu":
        return
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads it


def leave(main: Callable[[], int]) -> None:
    """Run `main` and end the process at once: simulators crash in their clean-up, after all is done."""
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def stop(process: subprocess.Popen, sig: signal.Signals = signal.SIGTERM) -> None:
    """Signal a process that `start` gave a session, and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, sig)


def reason(process_code: int, log: Path) -> str:
    """Why a process failed, in one line: the signal that ended it, or the last line of its log."""
    if process_code < 0:
        try:
            name = signal.Signals(-process_code).name
        except ValueError:
            name = f"signal {-process_code}"
        return f"killed by {name}"
    return last_line(log) or f"exit code {process_code}"


def last_line(log: Path) -> str:
    """The last non-empty line of a log, cut to a readable length."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    except OSError:
        return ""
    return next((line[:300] for line in reversed(lines) if line), "")


def news(log: Path) -> str:
    """What a simulator that starts is busy with, if that takes long: the last line of its log that says so."""
    line = last_line(log)
    return line if line.startswith(_NEWS) else ""
