"""`gradus`: the typer app of all commands. A command's module is imported when the command is called."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.main import get_command

import suite
from gradus.commands import COMMANDS
from suite.cli.app import PLAIN, SETTINGS, Command, Group

EXAMPLES = (
    "gradus run --task all --algo ppo",
    "gradus run --help",
    "gradus --install-completion",
)


class Deferred(Command):
    """A command whose module is imported when the command is called."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself."""
        return COMMANDS[str(self.name)].load().command.make_context(info_name, args, parent, **extra)


def _version(asked: bool) -> None:
    if asked:
        print(f"gradus {suite.__version__}")
        raise typer.Exit


def _gradus(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Gradus: a curriculum and multi-task benchmark for robot reinforcement learning.

    `gradus COMMAND --help` shows the options and examples of a command.
    """


def build() -> Any:
    """The group of all commands."""
    plain: dict[str, Any] = PLAIN | {"add_completion": True}
    app = typer.Typer(name="gradus", cls=Group, context_settings=SETTINGS, **plain)
    app.callback()(_gradus)
    group: Any = get_command(app)
    group.examples = EXAMPLES
    for name, entry in COMMANDS.items():
        group.add_command(Deferred(name, help=entry.help, rich_help_panel=entry.group, rich_markup_mode=None))
    return group
