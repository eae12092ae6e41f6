"""`gradus build RUNS --out SITE`: write the leaderboard of all runs in a folder."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated

from leaderboard.board.board import Board, load
from leaderboard.site import table
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, printable
from suite.untrusted import Unusable, load_json
from tasks.core.files import temporary_beside

PAGES = "pages.json"  # the pages of runs and tasks that a build wrote, and the next one may delete
PAGE = re.compile(r"(runs|tasks)/[^/\0]{1,255}\.html")
MAX_PAGES = 64 * 2**20


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

    `submissions` is the address of the submission service, for a link from every page. What cannot be shown is left
    out and named on standard error.
    """
    return _write_all(board, runs, out, submissions)[0]


def _write_all(board: Board, runs: Path, out: Path, submissions: str) -> tuple[Path, Board, list[str]]:
    """Also returns the board that was shown, and what is missing on its pages."""
    from leaderboard.site import page  # seaborn takes seconds to import: not before the input is known to be good

    if not board.runs:
        raise UserError(_no_runs(board, runs))
    shown, pages = page.run_pages(board, submissions)
    if not shown.runs:
        raise UserError(_no_runs(shown, runs))
    problems = [f"left out {left.path}: {left.reason}" for left in shown.skipped if left not in board.skipped]
    try:
        out.mkdir(parents=True, exist_ok=True)
        index = _write(shown, pages, out, submissions, problems)
    except FileExistsError:
        raise UserError(f"cannot write the leaderboard to {out}: it is not a folder; choose another --out") from None
    except OSError as error:
        raise UserError(f"cannot write the leaderboard to {out}: {error.strerror}; choose another --out") from None
    for problem in problems:
        print(printable(f"leaderboard.build: {problem}"), file=sys.stderr)
    return index, shown, problems


def _write(board: Board, pages: dict[str, str], out: Path, submissions: str, problems: list[str]) -> Path:
    from leaderboard.site import page

    before = _pages_of(out)
    own = sorted({*pages, *(f"tasks/{task}.html" for task in board.tasks)})
    _write_atomically(out / PAGES, json.dumps(sorted({*before, *own}), indent=0))  # should this build be cut off
    for name, content in page.files(board, pages, submissions, problems):  # index.html last: where it is, all else is
        path = out / name
        path.parent.mkdir(exist_ok=True)
        _write_atomically(path, content)
    for name in before.difference(own):  # of an earlier board
        (out / name).unlink(missing_ok=True)
    _write_atomically(out / PAGES, json.dumps(own, indent=0))
    return out / "index.html"


def _pages_of(out: Path) -> set[str]:
    """Pages of runs and tasks that an earlier build of this folder wrote, by its own list."""
    try:
        found = load_json(out / PAGES, MAX_PAGES)
    except (OSError, Unusable):
        return set()
    return {name for name in found if PAGE.fullmatch(str(name))} if isinstance(found, list) else set()


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


@app.command("leaderboard.build", ("gradus build runs --out site", "gradus build runs --out site --table --strict"))
def main(
    runs: o.Runs,
    out: Annotated[Path, o.folder("--out", "SITE", "the folder for the page")],
    table_too: Annotated[bool, o.flag("--table", "print the results, too")] = False,
    strict: Annotated[bool, o.flag("--strict", "exit code 1 if anything had to be left out")] = False,
    submissions: Annotated[
        str, o.option("--submissions", "URL", "link to this submission service", o.OUTPUT, show_default=False)
    ] = "",
    as_json: o.Json = False,
) -> int:
    """Write the leaderboard of all complete runs in a folder: a page, and its numbers as JSON, CSV and parquet.

    Exit code: 0, 1 with --strict if a run was left out, 2 for a mistake or where there is no run.
    """
    if submissions and not submissions.startswith(("https://", "http://", "/")):
        raise UserError(f"--submissions has to be an http address or a path from /, got {submissions!r}")
    board = read(runs)
    if table_too:
        from rich.console import Console

        Console(stderr=as_json).print(table.render(board))
    index, board, problems = _write_all(board, runs, out, submissions)
    if as_json:
        left_out = [{"path": left.path, "reason": left.reason} for left in board.skipped]
        print(json.dumps({"page": str(index), "runs": len(board.runs), "left_out": left_out, "problems": problems}))
    else:
        more = ", the page says why" if board.skipped else ""
        print(f"{index}\nruns: {len(board.runs)}; left out: {len(board.skipped)}{more}")
    if strict and (board.skipped or problems):
        print(printable(problems[0] if problems else f"left out: {board.skipped[0].reason}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.build", main))
