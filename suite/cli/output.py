"""Standard output that stays usable: closed, full, without a reader, or in an encoding that lacks a character."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import IO, Any


class _Lasting:
    """A text stream that drops what cannot be written any more; `lost` says why, '' where nobody reads it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.lost = ""

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, method: Callable[..., object], *arguments: str) -> None:
        try:
            method(*arguments)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.lost = error.strerror or str(error)
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())  # what is buffered goes there, and what children write
            os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting() -> Iterator[Callable[[], str]]:
    """Let standard output take everything; gives a function that says why some of it was lost, or ''."""
    _open_closed()
    before = sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # tests put others there
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = stream = _Lasting(before)

    def lost() -> str:
        stream.flush()
        return stream.lost

    try:
        yield lost
    finally:
        stream.flush()
        sys.stdout = before


def _open_closed() -> None:
    """Give a standard stream that is closed a file that takes everything: else the next file would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
