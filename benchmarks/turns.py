"""Measurements whose processes start at the same time and then measure one after the other, nothing else going on.

Starting a simulator on a GPU takes far longer than a measurement, and mostly the CPU's time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence

READY = "READY"
TURNS = "GRADUS_BENCHMARK_TURNS"
TIMEOUT_S = 900.0


def wait() -> None:
    """Of a process that `run` has started, once it is ready to measure: go on when it is its turn."""
    if TURNS in os.environ:
        print(READY, flush=True)
        sys.stdin.readline()


def run(commands: Sequence[Sequence[str]], together: int = 1) -> Iterator[tuple[str, str]]:
    """What each command printed, and why it failed (empty if it did not), as soon as that is known, in their order.

    `together` of them start at a time. They have to call `wait` before they measure, and to end after it.
    """
    for first in range(0, len(commands), together):
        batch = [_Process(command) for command in commands[first : first + together]]
        for process in batch:
            process.ready.wait(TIMEOUT_S)
        for process in batch:
            yield process.finish()


class _Process:
    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (a pipe that nobody reads would fill up)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {TURNS: "1"},
        )
        self.ready, self._lines = threading.Event(), []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.append(line)
            if line.strip() == READY:
                self.ready.set()
        self.ready.set()  # it will not be

    def finish(self) -> tuple[str, str]:
        try:
            self._process.stdin.write("\n")
            self._process.stdin.close()
        except OSError:  # it has ended
            pass
        try:
            code = self._process.wait(TIMEOUT_S)
            error = f"exit {code}" if code else ""
        except subprocess.TimeoutExpired:
            self._process.kill()
            error = f"not done after {TIMEOUT_S:g} s"
        self._reader.join(5.0)
        if error:
            self._errors.seek(0)
            said = [line.strip() for line in self._errors if line.strip()]
            error += f": {said[-1][:300] if said else 'no message'}"
        return "".join(self._lines), error
