"""Mistakes of the user: reported in one line, with exit code 2, before anything slow starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130


class UserError(Exception):
    """Something that the user asked for cannot be done; the message is one line that says what to do."""


def unknown(kind: str, name: str, valid: Iterable[str], list_all: bool = True) -> UserError:
    """An error for `name`, which is none of `valid`, with the nearest one (and all of them if `list_all`)."""
    valid = list(valid)
    nearest = get_close_matches(name, valid, n=1, cutoff=0.0)
    message = f"unknown {kind} {name!r}"
    if nearest:
        message += f"; nearest: {nearest[0]!r}"
    if list_all:
        message += f" (valid: {', '.join(valid)})"
    return UserError(message)


def one_of(kind: str, name: str, valid: Iterable[str]) -> str:
    """`name`, if it is one of `valid`. Raises `UserError` otherwise."""
    valid = list(valid)
    if name not in valid:
        raise unknown(kind, name, valid)
    return name


def first_line(error: BaseException | str) -> str:
    """The first non-empty line of an error's message, or the error's class where it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def printable(text: str) -> str:
    """Text of strangers in one line for a terminal: line ends, control codes and unseen characters become U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def exit_code(program: str, main: Callable[[], int]) -> int:
    """Call `main`, a command's body; a `UserError` becomes one line on stderr and exit code 2, Ctrl-C 130."""
    try:
        return main()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except UserError as error:
        print(f"{program}: {first_line(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT
