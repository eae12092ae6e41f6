"""`gradus results RUNS --out PAGE.md`: the results of a folder of runs as a Markdown page with pictures.

For READMEs and papers, which cannot hold the site. The pictures lie beside the page, `<page>-<budget>.png`.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from functools import partial
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import numpy as np

from leaderboard.board import perturbed
from leaderboard.board.board import Board
from leaderboard.board.rows import TaskRow
from leaderboard.build import read
from leaderboard.site.render import render
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code
from tasks.core.files import atomic
from tasks.spec import GRADES

PLACE = re.compile(r" --(?:no-wait|(?:out|wandb|retries|workers|jobs-per-gpu)[ =]\S+)")
"""Options of suite.run that say where runs go and how many at a time, and make no other run."""
PICTURE: dict[str, Any] = {"format": "png", "dpi": 150, "metadata": {"Software": None}}


def write(board: Board, runs: Path, page: Path) -> list[Path]:
    """Write the page of the board of `runs`, and its pictures, each whole or not at all; returns their paths.

    Equal boards give equal text. Raises `UserError` if there is no run or the folder cannot be written.
    """
    if not board.runs:
        raise UserError("no complete run in that folder; make one with python -m suite.run")
    budgets = [(name, list(rows)) for name, rows in groupby(_by_budget(board), lambda row: row.entry.budget)]
    text = _text(board, runs, page, budgets)
    try:
        pictures = [page.with_name(f"{page.stem}-{name}.png") for name, _ in budgets]
        for path, (_, rows) in zip(pictures, budgets, strict=True):
            atomic(path, partial(picture, rows))
        atomic(page, lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot write {page}: {error.strerror}; choose another --out") from None
    return [page, *pictures]


def _by_budget(board: Board) -> list[TaskRow]:
    order = [row.entry for row in board.ranking]
    return sorted(board.results, key=lambda row: (order.index(row.entry), row.task))


def _text(board: Board, runs: Path, out: Path, budgets: list[tuple[str, list[TaskRow]]]) -> str:
    from leaderboard.site import drawings  # seaborn takes seconds to import

    entries = [list(dict.fromkeys(row.entry for row in rows)) for _, rows in budgets]
    robust = perturbed.robust_rows(board.results, board.engines)
    return render(
        "results.md",
        **{"board": board, "grades": GRADES, "runs": runs, "page": out, "budgets": budgets},
        labels={e: label for some in entries for e, label in zip(some, drawings.entry_labels(some), strict=True)},
        robust={name: [r for r in robust if r.row.entry.budget == name and r.worst] for name, _ in budgets},
        groups=perturbed.groups(robust),
        commands=sorted(Counter(PLACE.sub("", " ".join(run.result["command"].split())) for run in board.runs).items()),
    )


def picture(rows: list[TaskRow], path: Path) -> None:
    """Write a PNG of success by task and grade in percent, a panel for each of the best entries of one budget.

    Entries on fewer than half as many tasks as others have none: it would be empty but for a line.
    """
    import seaborn as sns
    from matplotlib.figure import Figure

    from leaderboard.site.drawings import SHOWN, entry_labels

    every = [(entry, list(found)) for entry, found in groupby(rows, lambda row: row.entry)]
    most = max(len(found) for _, found in every)
    panels = [(entry, found) for entry, found in every if 2 * len(found) >= most][:SHOWN]
    tasks = sorted({row.task for _, found in panels for row in found})
    colours = sns.light_palette("#0a8577", as_cmap=True)
    figure = Figure(figsize=(1.6 + 2.2 * len(panels), 1.0 + 0.27 * len(tasks)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for ax, (_, found), label in zip(axes, panels, entry_labels([entry for entry, _ in panels]), strict=True):
        success = np.full((len(tasks), len(GRADES)), np.nan)
        for row in found:
            success[tasks.index(row.task)] = [100 * cell.success.value for cell in row.cells]
        sns.heatmap(
            success, ax=ax, vmin=0, vmax=100, cmap=colours, cbar=False, annot=True, fmt=".0f", linewidths=1,
            xticklabels=GRADES, yticklabels=tasks, annot_kws={"fontsize": 8},
        )  # fmt: skip
        ax.set_title(fill(label, 28), fontsize=9, loc="left")
        ax.tick_params(length=0, labelsize=8)
    figure.savefig(path, **PICTURE)


@app.command("leaderboard.results", ("gradus results leaderboard/published --out docs/results.md",))
def main(runs: o.Runs, out: Annotated[Path, o.folder("--out", "PAGE.md", "the page")]) -> int:
    """Write the results of a folder of runs as a Markdown page with pictures."""
    if out.suffix != ".md" or not out.parent.is_dir():
        raise UserError(f"--out has to be a Markdown file (.md) in a folder that is there, got {os.fspath(out)}")
    for path in write(read(runs), runs, out):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.results", main))
