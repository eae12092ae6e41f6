"""The board as a table for the terminal, 80 columns wide where the names let it."""

from __future__ import annotations

import json
import math

from rich import box
from rich.table import Table
from rich.text import Text

from leaderboard.board.board import Board
from leaderboard.board.rows import Estimate
from tasks.spec import GRADES

VARIANT = ("curriculum", "randomization", "engine", "budget", "submitter", "packages")


def render(board: Board) -> Table:
    """Success in percent with its 95 % interval: a row per task and entry, a column per grade, and their mean.

    What all entries have in common (curriculum, level, engine, budget) is said once, above.
    """
    values = {name: sorted({getattr(row.entry, name) for row in board.results}) for name in VARIANT}
    common = [found[0] for found in values.values() if len(found) == 1 and found[0]]
    several = any(len(row.runs) > 1 for row in board.results)  # a single seed has no interval
    title = "success in percent" + (", 95 % intervals over seeds below" if several else "")
    title += f" ({', '.join(common)})" if common else ""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    table.add_column("task", no_wrap=True)
    table.add_column("agent", overflow="fold")
    for name in (*GRADES, "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("seeds", justify="right")
    task = None
    for row in board.results:
        if row.task != task:
            table.add_section()
        agent = Text(row.entry.algo)
        if own := [getattr(row.entry, name) for name in VARIANT if len(values[name]) > 1]:
            agent.append(f"\n{' '.join(filter(None, own))}", style="dim")
        for key, value in json.loads(row.entry.overrides).items():
            agent.append(f"\n{key}={value}", style="dim")
        cells = [_cell(estimate) for estimate in (*(cell.success for cell in row.cells), row.mean)]
        table.add_row(Text(row.task if row.task != task else ""), agent, *cells, str(len(row.runs)))
        task = row.task
    return table


def _cell(estimate: Estimate) -> Text:
    text = Text(f"{100 * estimate.value:.0f}")
    if math.isnan(estimate.low):  # of a single seed
        return text
    return text.append(f"\n{100 * estimate.low:.0f}–{100 * estimate.high:.0f}", style="dim")
