"""The board as JSON (everything) and CSV (one row per task, entry, evaluation engine and grade)."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from leaderboard.board import Board, Estimate, RankRow, TaskRow
from leaderboard.runs import Entry, Run
from leaderboard.schema import GRADES

SCHEMA = 1
CSV_COLUMNS = (
    *("suite_version", "task", "algo", "curriculum", "randomization", "engine", "budget", "overrides"),
    *("evaluation_engine", "grade", "seeds", "episodes", "successes"),
    *("success", "success_low", "success_high", "return_mean"),
)


def to_json(board: Board) -> str:
    """All numbers of the board, success and scores in [0, 1]; runs are referred to by their paths."""
    content = {
        "schema": SCHEMA,
        "suite_version": board.suite_version,
        "newest_run_ended": board.newest.isoformat(timespec="seconds"),
        "tasks": board.tasks,
        "grades": GRADES,
        "ranking": [_rank_row(row) for row in board.ranking],
        "results": [_task_row(row) for row in board.results],
        "engines": [{**_task_row(row.other), "change": _number(row.change)} for row in board.engines],
        "runs": [_run(run) for run in board.runs],
        "skipped": [{"path": s.path, "reason": s.reason} for s in board.skipped],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_csv(board: Board) -> str:
    """Tidy rows; the first line names the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in (*board.results, *(engine_row.other for engine_row in board.engines)):
        for grade, cell in zip(GRADES, row.cells, strict=True):
            writer.writerow(
                {
                    "suite_version": board.suite_version,
                    "task": row.task,
                    **vars(row.entry),
                    "evaluation_engine": row.engine,
                    "grade": grade,
                    "seeds": len(row.runs),
                    "episodes": cell.episodes,
                    "successes": cell.successes,
                    "success": _number(cell.success.value),
                    "success_low": _number(cell.success.low),
                    "success_high": _number(cell.success.high),
                    "return_mean": _number(cell.return_mean),
                }
            )
    return text.getvalue()


def _number(value: float) -> float | None:
    """Six decimals, which hides the last bits that differ between CPUs; None for NaN."""
    return None if math.isnan(value) else round(value, 6)


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": _number(estimate.value), "low": _number(estimate.low), "high": _number(estimate.high)}


def _entry(entry: Entry) -> dict[str, Any]:
    return {**vars(entry), "overrides": json.loads(entry.overrides)}


def _rank_row(row: RankRow) -> dict[str, Any]:
    return {
        **_entry(row.entry),
        "rank": row.rank,
        "unranked": row.unranked or None,
        "score": _estimate(row.score),
        "iqm": _estimate(row.iqm),
        "optimality_gap": _estimate(row.optimality_gap),
        "seeds": row.seeds,
        "tasks": [r.task for r in row.rows],
    }


def _task_row(row: TaskRow) -> dict[str, Any]:
    grades = {}
    for grade, cell in zip(GRADES, row.cells, strict=True):
        grades[grade] = {
            "success": _estimate(cell.success),
            "successes": cell.successes,
            "episodes": cell.episodes,
            "return_mean": _number(cell.return_mean),
        }
    return {
        "task": row.task,
        **_entry(row.entry),
        "evaluation_engine": row.engine,
        "grades": grades,
        "mean": _estimate(row.mean),
        "runs": [run.path for run in row.runs],
    }


def _run(run: Run) -> dict[str, Any]:
    evaluations = {e.engine: e.episodes_sha256 for e in (run.evaluation, *run.others)}
    return {"path": run.path, **run.result, "episodes_sha256_by_engine": evaluations}
