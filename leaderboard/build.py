"""`python -m leaderboard.build RUNS --out SITE`: write the leaderboard of all runs in a folder."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from leaderboard.board import Board, load
from suite.errors import UserError, exit_code


def build(runs: Path, out: Path) -> Path:
    """Write `leaderboard.json`, `leaderboard.csv` and `index.html` of the runs under `runs` into the folder `out`.

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


def write(board: Board, runs: Path, out: Path) -> Path:
    """Write the files of a board that was loaded from `runs`. See `build`."""
    if not board.runs:
        raise UserError(_no_runs(board, runs))
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _write(board, out)
    except FileExistsError:
        raise UserError(f"cannot write the leaderboard to {out}: it is not a folder; choose another --out") from None
    except OSError as error:
        raise UserError(f"cannot write the leaderboard to {out}: {error.strerror}; choose another --out") from None


def _write(board: Board, out: Path) -> Path:
    from leaderboard import export, page  # seaborn takes seconds to import: not before the input is known to be good

    files = {
        "leaderboard.json": export.to_json(board),
        "leaderboard.csv": export.to_csv(board),
        "index.html": page.render(board),  # last: where the page is, its downloads are
    }
    for name, text in files.items():
        _write_atomically(out / name, text)
    return out / "index.html"


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(text.encode(errors="replace"))  # JSON may hold half characters that UTF-8 has not
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
    arguments = parser.parse_args()
    board = read(arguments.runs)
    print(write(board, arguments.runs, arguments.out))
    print(f"runs: {len(board.runs)}; left out: {len(board.skipped)}" + (", the page says why" if board.skipped else ""))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.build", main))
