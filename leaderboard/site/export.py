"""The board's numbers as files: JSON (everything), and CSV and parquet tables."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from leaderboard.board.board import Board
from leaderboard.board.ranking import RankRow, Versus
from leaderboard.board.rows import Estimate, TaskRow
from leaderboard.data.runs import Entry, Run
from tasks.spec import GRADES

SCHEMA = 3
_dump = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
ROW = dict[str, Any]
ENTRY = {
    name: pa.string()
    for name in ("algo", "curriculum", "randomization", "engine", "budget", "overrides", "submitter", "packages")
}
TABLES = {
    "ranking": {
        **ENTRY,
        **{"rank": pa.int64(), "unranked": pa.string(), "tasks": pa.int64(), "seeds": pa.int64()},
        **{"rank_low": pa.int64(), "rank_high": pa.int64()},
        **{f"score{end}": pa.float64() for end in ("", "_low", "_high")},
        **{name: pa.float64() for name in ("beyond_chance", "d50", "learned", "learned_low", "learned_high")},
        **{n: pa.float64() for n in ("next_difference", "next_low", "next_high", "next_p", "next_improvement")},
    },
    "leaderboard": {
        **{"suite_version": pa.string(), "task": pa.string()},
        **ENTRY,
        **{"evaluation_engine": pa.string(), "grade": pa.string()},
        **{name: pa.int64() for name in ("seeds", "episodes", "successes")},
        **{name: pa.float64() for name in ("success", "success_low", "success_high", "return_mean")},
    },
    "cells": {
        "task": pa.string(),
        **ENTRY,
        **{"seed": pa.int64(), "evaluation_engine": pa.string(), "cell": pa.string()},
        **{"episodes": pa.int64(), "successes": pa.int64(), "violations": pa.string()},
    },
    "runs": {
        **{"path": pa.string(), "task": pa.string()},
        **ENTRY,
        **{"seed": pa.int64(), "env_steps": pa.int64(), "wall_time_s": pa.float64(), "evaluation_time_s": pa.float64()},
        **{
            name: pa.string()
            for name in ("device", "ended", "policy_sha256", "episodes_sha256", "command", "provenance")
        },
    },
}


def files(board: Board) -> Iterator[tuple[str, str | bytes]]:
    """Name and content of each file."""
    yield "leaderboard.json", to_json(board)
    rows = {"ranking": _ranking_rows, "leaderboard": _grade_rows, "cells": _cell_rows, "runs": _run_rows}
    for name, make in rows.items():
        columns = TABLES[name]
        found = list(make(board))
        table = pa.table({key: _column([row[key] for row in found], kind) for key, kind in columns.items()})
        text, data = io.BytesIO(), io.BytesIO()
        pyarrow.csv.write_csv(_without_formulas(table), text)
        pq.write_table(table, data)
        yield f"{name}.csv", text.getvalue()
        yield f"{name}.parquet", data.getvalue()


def to_json(board: Board) -> str:
    """All numbers of the board, success and scores in [0, 1]; runs are referred to by their paths. A record a line."""
    content: dict[str, Any] = {
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
    parts = []
    for name, value in content.items():
        records = isinstance(value, list) and value
        text = "[\n" + ",\n".join(_dump(v) for v in value) + "\n]" if records else _dump(value)
        parts.append(f'"{name}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_floating(kind):  # JSON's integers may be larger than Arrow takes for a float
        values = [value if value is None else float(value) for value in values]
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # texts of JSON may hold half characters, which these files cannot
        return pa.array([value and value.encode(errors="replace").decode() for value in values], kind)


def _without_formulas(table: pa.Table) -> pa.Table:
    """The table with a quote before what a spreadsheet would compute: a text in it may be a stranger's."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_string(column.type):
            column = pc.call_function(
                "replace_substring_regex", [column], pc.ReplaceSubstringOptions(r"^([=+\-@\t\r])", r"'\1")
            )
        columns[name] = column
    return pa.table(columns)


def _number(value: float) -> float | None:
    """Six decimals, which hides the last bits that differ between CPUs; None for NaN and infinity."""
    return round(value, 6) if math.isfinite(value) else None


def _estimate(estimate: Estimate) -> ROW:
    return {"value": _number(estimate.value), "low": _number(estimate.low), "high": _number(estimate.high)}


def _flat(name: str, estimate: Estimate) -> ROW:
    return {
        name: _number(estimate.value),
        f"{name}_low": _number(estimate.low),
        f"{name}_high": _number(estimate.high),
    }


def _entry(entry: Entry) -> ROW:
    return {**vars(entry), "overrides": json.loads(entry.overrides)}


def _rank_row(row: RankRow) -> ROW:
    return {
        **_entry(row.entry),
        "rank": row.rank,
        "unranked": row.unranked or None,
        "ranks": row.ranks,
        "score": _estimate(row.score),
        "beyond_chance": _number(row.beyond_chance),
        "d50": _number(row.d50),
        "learned": _estimate(row.learned),
        "next": _versus(row.versus) if row.versus else None,
        "seeds": row.seeds,
        "tasks": [r.task for r in row.rows],
    }


def _versus(versus: Versus) -> ROW:
    d = versus.difference
    return {
        "difference": {"value": _number(d.value), "low": _number(d.low), "high": _number(d.high)},
        "p": _number(d.p),
        "significant": d.significant,
        "probability_of_improvement": _estimate(versus.improvement),
    }


def _task_row(row: TaskRow) -> ROW:
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
        "d50": _estimate(row.d50),
        "learned": _estimate(row.learned),
        "first_success_env_steps": _number(row.first_success),
        "runs": [run.path for run in row.runs],
    }


def _run(run: Run) -> ROW:
    record = {name: run.result[name] for name in ("env_steps", "wall_time_s", "evaluation_time_s", "device", "command")}
    return {
        "path": run.path,
        "task": run.task,
        **_entry(run.entry),
        "seed": run.seed,
        **record,
        "ended": run.ended.isoformat(timespec="seconds"),
        "policy_sha256": run.result["policy_sha256"],
        "episodes_sha256": {e.engine: e.episodes_sha256 for e in (run.evaluation, *run.others)},
    }


def _ranking_rows(board: Board) -> Iterator[ROW]:
    for row in board.ranking:
        d = row.versus.difference if row.versus else None
        yield {
            **vars(row.entry),
            **{"rank": row.rank, "unranked": row.unranked or None, "tasks": len(row.rows), "seeds": row.seeds},
            **dict(zip(("rank_low", "rank_high"), row.ranks or (None, None), strict=True)),
            **_flat("score", row.score),
            **{"beyond_chance": _number(row.beyond_chance), "d50": _number(row.d50)},
            **_flat("learned", row.learned),
            "next_difference": _number(d.value) if d else None,
            "next_low": _number(d.low) if d else None,
            "next_high": _number(d.high) if d else None,
            "next_p": _number(d.p) if d else None,
            "next_improvement": _number(row.versus.improvement.value) if row.versus else None,
        }


def _grade_rows(board: Board) -> Iterator[ROW]:
    for row in (*board.results, *(engine_row.other for engine_row in board.engines)):
        for grade, cell in zip(GRADES, row.cells, strict=True):
            yield {
                "suite_version": board.suite_version,
                "task": row.task,
                **vars(row.entry),
                "evaluation_engine": row.engine,
                "grade": grade,
                "seeds": len(row.runs),
                "episodes": cell.episodes,
                "successes": cell.successes,
                **_flat("success", cell.success),
                "return_mean": _number(cell.return_mean),
            }


def _cell_rows(board: Board) -> Iterator[ROW]:
    for run in board.runs:
        for e in (run.evaluation, *run.others):
            c = e.cells
            common = {"task": run.task, **vars(run.entry), "seed": run.seed, "evaluation_engine": e.engine}
            for i, (name, n, k) in enumerate(zip(c.names, c.episodes.tolist(), c.successes.tolist(), strict=True)):
                over = {limit: int(steps[i]) for limit, steps in c.violations.items()}
                yield common | {"cell": name, "episodes": n, "successes": k, "violations": _dump(over)}


def _run_rows(board: Board) -> Iterator[ROW]:
    for run in board.runs:
        row = _run(run) | vars(run.entry)
        provenance = {"provenance": _dump(run.result["provenance"])}
        yield row | {"episodes_sha256": run.evaluation.episodes_sha256} | provenance
