"""Options and arguments of commands, for `suite.cli.app`: a name means one thing, in whatever command it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import tasks
from suite.plan.paths import as_path
from tasks.core import engines

DEVICES = ("auto", "cpu", "cuda:0")  # what a shell offers

# Groups of options in the help of a command.
WHAT, WHERE, HOW, OUTPUT = "What to do", "Where it runs", "How runs are executed", "Output"


def path(text: str | Path) -> Path:
    """The parser of an option that names a file or a folder."""
    try:
        return as_path(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def integer(text: str | int) -> int:
    """The parser of an option that is an integer."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"invalid int value: {text!r}") from None


def number(text: str | float) -> float:
    """The parser of an option that is a number."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"invalid float value: {text!r}") from None


def completed(names: Callable[[], Sequence[str]]) -> Callable[..., list[str]]:
    """What a shell offers for an option that takes names, by comma."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names() if name.startswith(last)]

    return complete


def option(name: str, metavar: str | None, help: str, group: str = WHAT, **more: Any) -> Any:
    """An option `--name METAVAR`, or a flag without `metavar`; `more` is for `typer.Option`."""
    return typer.Option(name, metavar=metavar, help=help, rich_help_panel=group, **more)


def folder(name: str, metavar: str, help: str, group: str = OUTPUT, **more: Any) -> Any:
    """An option that names a file or a folder."""
    return option(name, metavar, help, group, parser=path, **more)


def argument(metavar: str, help: str, **more: Any) -> Any:
    """An argument that names a file or a folder."""
    return typer.Argument(metavar=metavar, help=help, parser=path, show_default=False, **more)


def named(name: str, metavar: str, help: str, names: Callable[[], Sequence[str]], group: str = WHAT) -> Any:
    """An option that takes names."""
    return option(name, metavar, help, group, autocompletion=completed(names))


def flag(name: str, help: str, group: str = OUTPUT) -> Any:
    """An option without a value."""
    return option(name, None, help, group)


# Arguments
Run = Annotated[Path, argument("RUN", "a run directory: .../seedK")]
Runs = Annotated[Path, argument("RUNS", "the folder of runs: the --out of `gradus run`")]

# What to do
Task = Annotated[str, named("--task", "NAME", "a task", tasks.names)]

# Where it runs
Physics = Annotated[str, named("--physics", "ENGINE", ", ".join(engines.names()), engines.names, WHERE)]
Device = Annotated[
    str,
    named("--device", "DEVICE", "auto, cpu or cuda:K; auto: the first GPU, else the CPU", lambda: DEVICES, WHERE),
]

# Output
RunsOut = Annotated[Path, folder("--out", "DIR", "where the runs go")]
Json = Annotated[bool, flag("--json", "print JSON")]
