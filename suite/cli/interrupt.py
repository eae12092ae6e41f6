"""Ctrl-C while a command is still importing: it ends at once with exit code 130, without a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading


def _end(signum: int, frame: object) -> None:
    os._exit(130)


def watch(command: bool = False) -> None:
    """End at Ctrl-C, if this process is a command (`python -m`) and was left to do what Python does at Ctrl-C."""
    command = command or sys.argv[:1] == ["-m"]  # as long as Python looks for the module
    if command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def take_back() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again: from here on somebody catches it."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
