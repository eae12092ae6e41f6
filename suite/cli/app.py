"""Commands: a function with typer's options becomes one that `python -m` and `gradus` call in the same way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from suite.errors import UserError, shown, unknown

ARGV = "gradus.argv"  # where a context keeps the words that it was made of
PLAIN: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _Plain:
    """What a command and a group of commands share: mistakes in one line, and help without boxes."""

    examples: tuple[str, ...] = ()

    @staticmethod
    def unknown_option(option: str) -> UserError | None:
        """An error with better advice for an option that the command does not have, or None."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words `args` into `ctx`. Raises `UserError` for any mistake."""
        typers: Any = super()
        for text in args:
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise UserError(f"{shown(text)}: expected UTF-8, which config.yaml and result.json are written in")
        ctx.meta[ARGV] = tuple(args)
        try:
            return typers.parse_args(ctx, args)
        except typer.TyperException as error:
            if hasattr(error, "possibilities"):  # no such option
                option = vars(error)["option_name"]
                raise self.unknown_option(option) or unknown("option", option, options(self), list_all=False) from None
            raise mistake(error) from None

    def format_options(self: Any, ctx: Any, formatter: Any) -> None:
        """Arguments and options, in groups."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            if not (record := parameter.get_help_record(ctx)):
                continue
            if parameter.param_type_name == "argument":
                groups["Arguments"].append((parameter.metavar, record[1]))
            else:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, each in one line."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"  {example}\n")


class Command(_Plain, TyperCommand):
    """A command."""


class Group(_Plain, TyperGroup):
    """A group of commands."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Commands, in groups, then options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.commands[name]
            groups.setdefault(command.rich_help_panel or "Commands", []).append((name, command.get_short_help_str(90)))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)
        super().format_options(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that `args` begins with. Raises `UserError` for one that there is not."""
        name = args[0]
        if name not in self.commands and not ctx.resilient_parsing:
            raise unknown("command", name, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


class Main:
    """A command as a function: of its arguments, a list of words (those of this process), to its exit code.

    Raises `UserError` for bad input. `command` is what `typer` made of it, `program` its name as a module; `leaves`:
    its process has to end with it, by `suite.execute.process.leave`, since it starts a simulator.
    """

    def __init__(self, app: typer.Typer, program: str, examples: Sequence[str], leaves: bool = False) -> None:
        self.program, self.leaves = program, leaves
        self.command: Any = get_command(app)
        self.command.examples = tuple(examples)

    def __call__(self, argv: Sequence[str] | None = None) -> Any:
        """Run the command with `argv`, or with the words of this process."""
        return invoke(self.command, f"python -m {self.program}", sys.argv[1:] if argv is None else argv)


def command(
    program: str,
    examples: Sequence[str] = (),
    unknown_option: Callable[[str], UserError | None] = lambda option: None,
    leaves: bool = False,
) -> Callable[[Callable[..., Any]], Main]:
    """Make a function with typer's options the command `python -m PROGRAM`; its docstring is the help.

    `examples` are whole command lines that the help shows. `unknown_option` may give an error with better advice for an
    option that the command does not have. `leaves`: see `Main`.
    """

    def decorate(function: Callable[..., Any]) -> Main:
        app = typer.Typer(**PLAIN)
        app.command(program.rpartition(".")[2], cls=Command, context_settings=SETTINGS)(function)
        main = Main(app, program, examples, leaves)
        main.command.unknown_option = unknown_option
        return main

    return decorate


def group(program: str) -> typer.Typer:
    """A command of commands; its callback has the options that all of them share. See `Main`."""
    return typer.Typer(
        name=program.rpartition(".")[2], cls=Group, context_settings=SETTINGS, subcommand_metavar="[COMMAND]", **PLAIN
    )


def subcommand(group: typer.Typer, name: str, **settings: Any) -> Callable[..., Any]:
    """Make a function the command `name` of a group; `settings` are of its context."""
    return group.command(name, cls=Command, context_settings=SETTINGS | settings)


def invoke(command: Any, name: str, argv: Sequence[str]) -> Any:
    """What a command gives for `argv`; 0 if it only shows its help. Ctrl-C and errors of its body pass through."""
    try:
        with command.make_context(name, list(argv)) as context:
            return context.command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except typer.TyperException as error:
        raise mistake(error) from None


def mistake(error: typer.TyperException) -> UserError:
    """The error's message in one line."""
    return UserError(f"{shown(error.format_message().removeprefix('Invalid value for '))} (see --help)")


def options(command: Any) -> list[str]:
    """The long options of a command."""
    found = [text for parameter in command.params if not getattr(parameter, "hidden", False) for text in parameter.opts]
    return [*(text for text in found if text.startswith("--")), "--help"]


def argv_of(context: typer.Context) -> list[str]:
    """The words after the command's name."""
    return list(context.meta[ARGV])


def program_of(context: typer.Context) -> str:
    """How the user called the command: `gradus run`, or `suite.run`."""
    return context.command_path.removeprefix("python -m ")
