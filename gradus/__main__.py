"""`gradus COMMAND ...`, which is `python -m gradus COMMAND ...`."""

from __future__ import annotations

from suite.cli import interrupt

interrupt.watch(command=True)  # first: from here on Ctrl-C ends it without a traceback

import os  # noqa: E402
import sys  # noqa: E402

COMPLETE = "_GRADUS_COMPLETE"  # set by a shell that asks what could come next


def main() -> None:
    """Do what the command line says, and end the process with the command's exit code."""
    from gradus.app import build
    from gradus.commands import COMMANDS
    from suite.cli.app import invoke
    from suite.errors import exit_code

    group, argv = build(), sys.argv[1:]
    if COMPLETE in os.environ:
        group.main(argv, prog_name="gradus")
    program, leaves = "gradus", False
    if argv and argv[0] in COMMANDS:
        program = f"gradus {argv[0]}"
        leaves = COMMANDS[argv[0]].load().leaves  # imported now: in `exit_code` Ctrl-C raises an exception

    def work() -> int:
        return exit_code(program, lambda: invoke(group, "gradus", argv or ["--help"]))

    if leaves:
        from suite.execute.process import leave

        leave(work)
    sys.exit(work())


if __name__ == "__main__":
    main()
