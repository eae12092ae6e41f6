"""What the user sees at the end: success by grade, what failed, and where the page is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from suite.scheduler import Tracked


def show(tracked: Sequence[Tracked], out: Path) -> None:
    """Print what failed, and the table and the page of all complete runs in `out`."""
    console = Console()
    for t in tracked:
        if t.state == "failed":
            line = f"failed: {t.job.run.path}: {t.message}\n        see {t.job.run.log}"
            console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    if any(t.job.run.read_result() for t in tracked):
        # Here, because it imports plotting; the page reads run directories like anyone else's.
        from leaderboard import board, build, table

        found = board.load(out)
        console.print(table.render(found))
        page = build.write(found, out, out / "site")
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
