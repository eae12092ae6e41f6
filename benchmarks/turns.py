"""Measurements whose processes start at the same time and then measure one after the other, nothing else going on.

Starting a simulator on a GPU takes far longer than a measurement, and mostly the CPU's time.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import psutil

TIMEOUT_S = 900.0


def wait() -> None:
    """In a process that `run` has started, once it is ready to measure: go on when it is its turn."""
    print("\nREADY", flush=True)
    if not sys.stdin.readline():
        os._exit(1)  # the parent is gone


def child(measure: Callable[[], dict[str, Any]]) -> NoReturn:
    """All of a process that `run` has started. `measure` has to call `wait` when it is ready."""
    code = 1
    try:
        print("\nRESULT " + json.dumps(measure()), flush=True)
        sys.stdin.readline()  # the parent looks at the memory before
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)  # closing a simulator can hang


def run(
    commands: Sequence[Sequence[str]], together: int = 1, device: str = "cpu", timeout: float = TIMEOUT_S
) -> Iterator[dict[str, Any]]:
    """For each command, in their order, what was measured and `memory_gib`, or `error`: why it was not.

    Commands are Python's arguments; `together` of them start at a time. When each of these is ready or has failed, one
    after the other measures and ends, while those left are stopped. `timeout` [s] is for getting ready and for each
    measurement. The memory is that of the process, on CUDA what of `device` is free again once it has ended.
    """
    for batch in itertools.batched(commands, together):
        with tempfile.TemporaryDirectory() as folder:
            processes = [_Process(command, Path(folder, str(number))) for number, command in enumerate(batch)]
            try:
                deadline = time.monotonic() + timeout
                for process in processes:
                    process.wait_for("READY", deadline)
                for process in processes:  # PhysX's threads look for work all the time
                    process.send(signal.SIGSTOP)
                for process in processes:
                    yield process.measure(device, timeout)
            finally:
                for process in processes:
                    process.end()


class _Process:
    def __init__(self, command: Sequence[str], log: Path) -> None:
        # Files and not pipes: simulators print much, and a pipe that nobody reads stops who writes to it.
        self._out, self._err = log.with_suffix(".out"), log.with_suffix(".err")
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            command = [sys.executable, "-W", "ignore", *command]
            # In a group of its own it gets SIGHUP if it is stopped when this process dies.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err, process_group=0)
        self.error = ""

    def wait_for(self, word: str, deadline: float) -> str:
        """What follows `word` on a line of the output; nothing, and `error`, where the process ends or is late."""
        while not self.error:
            code, late = self._process.poll(), time.monotonic() > deadline
            for line in self._out.read_text(errors="replace").splitlines(keepends=True):
                if line.startswith(word) and line.endswith("\n"):
                    return line.removeprefix(word)
            if code is not None:
                said = [line.strip() for line in self._err.read_text(errors="replace").splitlines() if line.strip()]
                self.error = f"exit {code}: {said[-1][:300] if said else 'no message'}"
            elif late:
                self.error = f"no {word} in time"
            else:
                time.sleep(0.1)
        self.end()
        return ""

    def measure(self, device: str, timeout: float) -> dict[str, Any]:
        self.send(signal.SIGCONT)
        self._say("go")
        found = self.wait_for("RESULT", time.monotonic() + timeout)
        if self.error:
            return {"error": self.error}
        free, memory = _free(device), psutil.Process(self._process.pid).memory_info().rss
        self._say("end")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30.0)
        self.end()
        if device.startswith("cuda"):
            memory = _free(device) - free
        return json.loads(found) | {"memory_gib": memory / 2**30}

    def _say(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended, which `wait_for` sees
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def send(self, signal_number: int) -> None:
        self._process.send_signal(signal_number)  # which does nothing where it has ended

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _free(device: str) -> int:
    """Bytes of a GPU that nobody has; 0 for a CPU."""
    if not device.startswith("cuda"):
        return 0
    import torch

    return torch.cuda.mem_get_info(device)[0]
