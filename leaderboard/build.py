"""`python -m leaderboard.build RUNS --out SITE`: write the leaderboard of all runs in a folder."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from leaderboard import table
from leaderboard.board import Board, load
from suite.errors import UserError, exit_code
from tasks.files import temporary_beside


def build(runs: Path, out: Path) -> Path:
    """Write the site of the runs under `runs` into the folder `out`: pages, and their numbers as JSON, CSV and parquet.

    Returns the path of `index.html`. Equal runs give equal bytes. Raises `suite.errors.UserError`, in one line, if
    there is no complete run or a folder cannot be used.
    """
    return write(read(runs), runs, out)


def read(runs: Path) -> Board:
    """The board of the runs under `runs`. Raises `UserError` if the folder cannot be read."""
    try:
        return load(runs)
    except OSError as error:
        raise UserError(f"cannot read runs from {runs}: {error.strerror}; give suite.run's --out") from None


def write(board: Board, runs: Path, out: Path, submissions: str = "") -> Path:
    """Write the files of a board that was loaded from `runs`, see `build`.

    `submissions` is the address of the submission service, for a link from every page.
    """
    if not board.runs:
        raise UserError(_no_runs(board, runs))
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _write(board, out, submissions)
    except FileExistsError:
        raise UserError(f"cannot write the leaderboard to {out}: it is not a folder; choose another --out") from None
    except OSError as error:
        raise UserError(f"cannot write the leaderboard to {out}: {error.strerror}; choose another --out") from None


def _write(board: Board, out: Path, submissions: str) -> Path:
    from leaderboard import page  # seaborn takes seconds to import: not before the input is known to be good

    written = set()
    for name, content in page.files(board, submissions):  # index.html last: where it is, all else is
        path = out / name
        path.parent.mkdir(exist_ok=True)
        _write_atomically(path, content)
        written.add(path)
    for folder in ("runs", "tasks"):  # of an earlier board
        for path in (out / folder).glob("*.html"):
            if path not in written:
                path.unlink()
    return out / "index.html"


def _write_atomically(path: Path, content: str | bytes) -> None:
    temporary = temporary_beside(path)
    data = content if isinstance(content, bytes) else content.encode(errors="replace")  # half characters of JSON
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _no_runs(board: Board, runs: Path) -> str:
    if not board.skipped:
        return f"no run directory in {runs}; make one with python -m suite.run --out {runs}"
    first = board.skipped[0]
    return f"no complete run in {runs}; {len(board.skipped)} left out, the first: {first.path}: {first.reason}"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard.build", description="Build the leaderboard page.")
    parser.add_argument("runs", type=Path, metavar="RUNS", help="the folder that suite.run wrote")
    parser.add_argument("--out", type=Path, metavar="SITE", required=True, help="the folder for the page")
    parser.add_argument("--table", action="store_true", help="print the results, too")
    parser.add_argument("--submissions", default="", metavar="URL", help="link to this submission service")
    arguments = parser.parse_args()
    if arguments.submissions and not arguments.submissions.startswith(("https://", "http://", "/")):
        raise UserError(f"--submissions has to be an http address or a path from /, got {arguments.submissions!r}")
    board = read(arguments.runs)
    if arguments.table:
        from rich.console import Console

        Console().print(table.render(board))
    print(write(board, arguments.runs, arguments.out, arguments.submissions))
    print(f"runs: {len(board.runs)}; left out: {len(board.skipped)}" + (", the page says why" if board.skipped else ""))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.build", main))
