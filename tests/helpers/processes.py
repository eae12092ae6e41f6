"""Looking at other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil


def wait_until(condition: Callable[[], Any], timeout: float = 300.0) -> Any:
    """What `condition` returns once that is true; the limit is for machines that hang, not for slow ones."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has collected yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def running(module: str, folder: Path) -> list[psutil.Process]:
    """Live processes of `python -m MODULE` with a path in `folder` among their arguments."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if module in words and any(word.startswith(str(folder)) for word in words):
            found.append(process)
    return found
