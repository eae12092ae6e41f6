"""`gradus report RUNS --project PROJECT`: a W&B report on published runs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leaderboard import build
from leaderboard.board.board import Board
from leaderboard.board.rows import Estimate, TaskRow
from leaderboard.data.runs import Entry
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, first_line
from suite.tracking.tracker import login
from tasks.core.files import atomic
from tasks.spec import GRADES

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import BlockTypes, Report

CURVES = {"success_mean": "Success in training", "return_mean": "Return in training"}


def make(board: Board, entity: str, project: str) -> Report:
    """The report: the ranking, and for each task its results beside the curves of the runs that W&B has.

    The tables are of the board's runs, with intervals. The panels draw from the project whatever carries the suite
    version and the task in its configuration, one line per setting, mean and range over its seeds.
    """
    import wandb_workspaces.reports.v2.interface as wr

    blocks: list[BlockTypes] = [wr.TableOfContents(), wr.H1("Ranking"), wr.MarkdownBlock(_ranking(board))]
    for task, rows in groupby(board.results, lambda row: row.task):
        blocks += [wr.H1(task), wr.MarkdownBlock(_results(list(rows))), _panels(wr, board.suite_version, task)]
    blocks += [wr.H1("Method"), wr.MarkdownBlock(_method(board))]
    return wr.Report(
        project=project,
        entity=entity,
        title=f"Gradus {board.suite_version}: {len(board.tasks)} tasks, {len(board.runs)} runs",
        description=f"Results up to {board.newest:%Y-%m-%d}, success with 95 % intervals.",
        width="fluid",
        blocks=blocks,
    )


def _panels(wr: Any, version: str, task: str) -> Any:
    from wandb_workspaces import expr

    runs = wr.Runset(
        name=task,
        filters=expr.And(expr.Config("suite_version") == version, expr.Config("task") == task),
        groupby=["config.algo", "config.variant"],
    )
    lines = [
        wr.LinePlot(
            title=title,
            x="env_steps",
            y=[name],
            range_y=(0.0, 1.0) if name == "success_mean" else (None, None),
            title_x="env steps",
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
        for name, title in CURVES.items()
    ]
    bars = wr.BarPlot(
        title="Evaluated success by grade",
        metrics=[f"success/{grade}" for grade in GRADES],
        range_x=(0.0, 1.0),
    )
    difficulty = wr.LinePlot(title="Difficulty of the curriculum", x="env_steps", y=["curriculum/difficulty_mean"])
    return wr.PanelGrid(runsets=[runs], panels=[*lines, bars, difficulty, wr.RunComparer(diff_only="split")])


def _ranking(board: Board) -> str:
    lines = ["| Rank | Algorithm | Setting | Budget | Score | 95 % | Seeds |", "|---|---|---|---|---|---|---|"]
    for row in board.ranking:
        e = row.entry
        rank = str(row.rank) if row.rank is not None else f"({_cell(row.unranked)})"
        score = f"{_percent(row.score)} | {_limits(row.score, ' to ')}"
        lines.append(f"| {rank} | {_cell(e.algo)} | {_setting(e)} | {_cell(e.budget)} | {score} | {row.seeds} |")
    return "\n".join(lines)


def _results(rows: Sequence[TaskRow]) -> str:
    lines = ["| Algorithm | Setting | Budget | Mean | " + " | ".join(GRADES) + " |", "|---" * (4 + len(GRADES)) + "|"]
    for row in rows:
        e = row.entry
        cells = [f"{_percent(c.success)} {_limits(c.success)}".strip() for c in row.cells]
        mean = f"{100 * row.mean.value:.1f}"
        lines.append("| " + " | ".join([_cell(e.algo), _setting(e), _cell(e.budget), mean, *cells]) + " |")
    return "\n".join(lines)


def _method(board: Board) -> str:
    text = (
        "Success in percent. Score: mean over tasks of the mean over grades of the mean over seeds. Intervals cover"
        " 95 %, over seeds and start states; a single seed has none. A row is ranked with five seeds on every task."
    )
    if board.skipped:
        text += f" {len(board.skipped)} run directories were left out."
    return text


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f}" if math.isfinite(estimate.value) else ""


def _limits(estimate: Estimate, between: str = "") -> str:
    """`1.0 to 2.0`, or `(1.0–2.0)` without words between; nothing where they are not known."""
    if not math.isfinite(estimate.low):
        return ""
    low, high = f"{100 * estimate.low:.1f}", f"{100 * estimate.high:.1f}"
    return f"{low}{between}{high}" if between else f"({low}–{high})"


def _setting(entry: Entry) -> str:
    changed = (f"{key}={value}" for key, value in json.loads(entry.overrides).items())
    return " ".join(map(_cell, (entry.curriculum, entry.randomization, entry.engine, *changed)))


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, in a cell of a table."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]|~#!$" else c for c in str(text))
    return " ".join(escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())


def spec(report: Report) -> dict[str, Any]:
    """What W&B would be sent, as plain data; the network is not asked. The library has no public way to it."""
    model = report._to_model()  # pyright: ignore[reportPrivateUsage]
    return {
        "title": model.display_name,
        "description": model.description,
        "entity": model.project.entity_name,
        "project": model.project.name,
        "spec": json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True)),
    }


EXAMPLES = (
    "gradus report runs --project my-team/gradus",
    "gradus report runs --project gradus --out report.json",
)


@app.command("leaderboard.report", EXAMPLES)
def main(
    context: typer.Context,
    runs: Annotated[Path, o.argument("RUNS", "the folder of the published runs (runs)")] = Path("runs"),
    project: Annotated[
        str | None, o.option("--project", "[ENTITY/]PROJECT", "the W&B project in which the runs were tracked")
    ] = None,
    wandb: Annotated[
        str | None, o.option("--wandb", "PROJECT", "the same, as it was called before", hidden=True)
    ] = None,
    draft: Annotated[bool, o.flag("--draft", "save it as a draft, which others do not see")] = False,
    out: Annotated[
        Path | None, o.folder("--out", "FILE", "write what would be sent, as JSON, and send nothing")
    ] = None,
) -> int:
    """Write a W&B report on published runs: the ranking, and each task's results beside its curves.

    Exit code: 0, 1 if W&B refuses, 2 for a mistake.
    """
    where = project or wandb
    if where is None:
        raise UserError("--project is missing: name the W&B project in which the runs were tracked")
    entity, _, name = where.rpartition("/")
    if not name or "/" in entity:
        raise UserError(f"--project has to be PROJECT or ENTITY/PROJECT, got {where!r}")
    if out is None and not login():
        raise UserError("a report needs a login: run `wandb login` once, or look at it with --out FILE")
    board = build.read(runs)
    if not board.runs:
        raise UserError(f"no complete run in {runs}")
    if out is not None:
        text = json.dumps(spec(make(board, entity, name)), indent=1) + "\n"
        atomic(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        print(f"{out}: {len(board.runs)} runs, {len(board.tasks)} tasks; nothing was sent")
        return 0
    try:
        address = _send(board, entity, name, draft)
    except Exception as error:  # the client raises whatever its layers do
        print(f"{app.program_of(context)}: W&B did not take the report: {first_line(error)}", file=sys.stderr)
        return 1
    print(address)
    return 0


def _send(board: Board, entity: str, project: str, draft: bool) -> str:
    """The report's address."""
    import wandb

    if not (entity := entity or wandb.Api().default_entity or ""):
        raise ValueError("the account has no default entity; name one: --project ENTITY/PROJECT")
    return make(board, entity, project).save(draft=draft).url


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.report", main))
