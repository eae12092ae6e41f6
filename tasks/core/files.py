"""Writes that are whole or absent."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path


def temporary_beside(path: Path) -> Path:
    """A hidden name in the folder of `path` that no other process takes: ids of processes repeat across containers."""
    return path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}")


def sync(path: Path) -> None:
    """Have the disk keep a file: without it a power cut may leave an empty one under its new name."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def atomic(path: Path, write: Callable[[Path], object], once: bool = False) -> None:
    """Let `write` fill a temporary file, then put it in place of `path`: a reader sees all of it or nothing.

    With `once` there may be no file yet; raises `FileExistsError` otherwise.
    """
    temporary = temporary_beside(path)
    try:
        write(temporary)
        sync(temporary)
        if once:
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
