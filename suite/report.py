"""What the user sees at the end: success by grade, what failed, and where the page is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from suite.errors import UserError, first_line
from suite.scheduler import Tracked


def show(tracked: Sequence[Tracked], out: Path) -> None:
    """Print what failed and the results, and build the leaderboard page of all runs in `out`."""
    console = Console()
    if results := [result for t in tracked if (result := t.job.run.read_result())]:
        console.print(by_grade(results))
    for t in tracked:
        if t.state == "failed":
            line = f"failed: {t.job.run.path}: {t.message}\n        see {t.job.run.log}"
            console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    if not results:
        return  # and no page: it would be empty
    from leaderboard.build import build  # here, because it imports plotting

    try:
        page = build(out, out / "site")
    except UserError as error:
        console.print(f"no leaderboard: {first_line(error)}", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(f"leaderboard: {page}", markup=False, highlight=False, soft_wrap=True)


def by_grade(results: Sequence[Mapping[str, Any]]) -> Table:
    """Success by grade, one line per result."""
    table = Table(title="success by grade")
    grades = list(results[0]["success"])
    for name in ("task", "algo", "engine", "seed"):
        table.add_column(name)
    for name in (*grades, "mean"):
        table.add_column(name, justify="right")
    for result in results:
        values = [result["success"][grade] for grade in grades]
        numbers = [f"{value:.2f}" for value in (*values, sum(values) / len(values))]
        table.add_row(*(str(result[key]) for key in ("task", "algo", "engine", "seed")), *numbers)
    return table
