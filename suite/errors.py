"""Mistakes of the user: reported in one line, with exit code 2, before anything slow starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from suite.cli import interrupt, output
from tasks.core.registry import RegistryError

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130


SHOWN, MOST = 200, 2000  # characters of what a message quotes, and of a message
_ALSO = {  # what other tools call it
    **{"lr": "learning_rate", "clip_range": "eps_clip", "n_envs": "num_envs", "total_timesteps": "env_steps"},
    **dict.fromkeys(("mujoco", "mujoco_warp", "mjwarp", "newton"), "newton_mjwarp"),
    **dict.fromkeys(("isaacsim", "isaac_sim"), "isaacsim_physx"),
}


class UserError(Exception):
    """The user asked for what cannot be done; the message says in one line what to do."""


def unknown(kind: str, name: str, valid: Iterable[str], list_all: bool = True) -> UserError:
    """An error for `name`, which is none of `valid`, with the nearest one (and all of them if `list_all`)."""
    valid = list(valid)
    message = f"unknown {kind} {shown(name)!r}"
    if nearest := _nearest(shown(name), valid):
        message += f"; nearest: {nearest!r}"
    if list_all:
        message += f" (valid: {', '.join(valid)})"
    return UserError(message)


def _nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that was meant: small and capital letters, `-` and `_` are the same, and so are other names."""
    folder, dot, last = name.lower().replace("-", "_").rpartition(".")
    wanted = folder + dot + _ALSO.get(last, last)
    same = {text.lower().replace("-", "_"): text for text in valid}
    nearest = get_close_matches(wanted, same, n=1, cutoff=0.0)
    return same[nearest[0]] if nearest else None


def shown(text: object, most: int = SHOWN) -> str:
    """A text from outside as a message quotes it: printable, one line, not longer than `most` characters."""
    text = str(text)
    cut = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text[:most])
    return cut if len(text) <= most else f"{cut}..."


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
    """Call `main`, a command's body; a `UserError` becomes one line on stderr and exit code 2, Ctrl-C 130.

    Output that nobody reads any more (`| head`) is dropped, and the command goes on; exit code 1 if it could not be
    written for another reason, such as a full disk.
    """
    interrupt.take_back()
    with output.lasting() as lost:
        try:
            code = main()
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except (UserError, RegistryError) as error:
            print(f"{program}: {shown(first_line(error), MOST)}", file=sys.stderr)
            return EXIT_BAD_INPUT
        if reason := lost():
            print(f"{program}: standard output cannot be written: {reason}", file=sys.stderr)
            return code or 1
        return code
