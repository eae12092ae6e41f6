"""What the user sees at the end: success by grade, what failed, and where the page is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

from suite.report.display import Name, Shown
from suite.runs.rundir import RunDir


class Placed(Name, Protocol):
    """Which run, and where."""

    @property
    def run(self) -> RunDir:
        """Its directory."""
        ...


class Ended(Shown, Protocol):
    """A run that this command had to do."""

    @property
    def job(self) -> Placed:
        """Which run."""
        ...


def show(tracked: Sequence[Ended], out: Path) -> int:
    """Print what failed, and let the leaderboard print the table of all complete runs in `out` and build its page.

    Returns 0 if no run of this command failed or had to be left, and the page was built.
    """
    console = Console()
    for t in tracked:
        if t.state == "failed":
            line = f"failed: {t.job.run.path}: {t.message}\n        see {t.job.run.log}"
            console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    if left := sum(t.state == "queued" for t in tracked):
        console.print(f"{left} runs were not started: repeat the command when there is space", style="red")
    if elsewhere := sum(t.state == "elsewhere" for t in tracked):
        # The last command to finish builds the page.
        console.print(f"{elsewhere} runs are left to other commands", highlight=False)
    elif any(t.state in ("complete", "skipped") for t in tracked):
        # A command like anyone else's: the leaderboard stands above the suite, and nothing here imports it.
        site = [str(out), "--out", str(out / "site"), "--table"]
        if subprocess.run([sys.executable, "-m", "leaderboard.build", *site]).returncode:
            return 1
    return 1 if any(t.state in ("failed", "queued") for t in tracked) else 0


def by_grade(title: str, summary: Mapping[str, Mapping[str, float]]) -> Table:
    """Success and mean return of one evaluation, a line per grade; see `evaluation.summary`."""
    table = Table(title=title, title_justify="left")
    for name in ("grade", "success", "return", "episodes"):
        table.add_column(name, justify="left" if name == "grade" else "right")
    for grade, success in summary["success"].items():
        mean = summary["return"][grade]
        # JSON has no NaN: a result.json says null of a grade whose episodes all crashed.
        row = f"{success:.3f}", "none" if mean is None else f"{mean:.2f}", str(summary["episodes"][grade])
        table.add_row(grade, *row)
    return table
