"""The evaluation of a policy: which episodes, run in a process of its own, and what they say."""

from __future__ import annotations

import hashlib
import json
import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import tasks
from suite import protocol as protocols
from suite.execute import process
from suite.protocol import Protocol
from suite.runs import episode_table, schemas
from suite.runs.provenance import collect
from suite.runs.rundir import atomic, now, write_checked
from tasks.core.success import succeeded
from tasks.spec import GRADES

FAILED = ("cut", "non_finite", "crashed")
"""Terminations of episodes that count as failures whatever happened in them."""

_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)  # all others are sent


OnProgress = Callable[[int, str], None]


class EvaluationError(RuntimeError):
    """The evaluation could not be run; the message is the reason, in one line."""


def episodes(protocol: Protocol) -> int:
    """How many episodes there are in all."""
    return len(protocols.rows(tasks.get(protocol.task), protocol).cell) * protocol.episodes_per_env


def evaluate(protocol: Protocol, policy: Path, log: Path, on_progress: OnProgress) -> list[dict[str, Any]]:
    """Rows of all episodes, sorted by env and episode.

    `on_progress` gets how many are done, and what takes long if the simulator has to do something first.

    An engine that crashes, or raises in a step, is tried once more; what is still missing then are episodes that
    failed. Whatever else ends the process costs no episode, as it is not the policy's doing.

    Raises:
        EvaluationError: if the engine did not start, or the process ended in any other way than by a crash of the
            engine: for lack of memory or disk, by an error outside of the engine, or by a signal that was sent to it.
    """
    for last in (False, True):
        rows, markers, code = _run(protocol, policy, log, on_progress)
        if "overflow" in markers:
            raise EvaluationError(
                f"evaluation on {protocol.engine}: the engine had no room for all contacts, and dropped some;"
                f" {log} names the buffer that is too small"
            )
        if "done" in markers:
            break
        reason = process.reason(code, log)
        crashed = "crashed" in markers or -code in _CRASHES
        if "started" not in markers or not crashed or process.of_the_machine(process.tail(log)):
            raise EvaluationError(f"evaluation on {protocol.engine}: {reason}")
        with open(log, "a", encoding="utf-8") as file:
            print(f"the engine crashed in the evaluation ({reason}); last try: {last}", file=file)
    return _fill(protocol, rows)


def _run(
    protocol: Protocol, policy: Path, log: Path, on_progress: OnProgress
) -> tuple[list[dict[str, Any]], set[str], int]:
    rows: list[dict[str, Any]] = []
    markers: set[str] = set()
    steps, total = 0, episodes(protocol)
    with process.Child(["suite.runs.rollout", json.dumps(asdict(protocol)), str(policy)], log) as child:
        for event in child:
            if event is None:
                # Steps are progress, too: a slow machine takes long until the first episode ends.
                news = f"evaluated {len(rows)} of {total} episodes, step {steps}" if steps else ""
                on_progress(len(rows), news or ("" if rows else child.news()))
            elif "steps" in event:
                steps = event["steps"]
            elif "marker" in event:
                markers.add(event["marker"])
            else:
                rows.append(event)
    assert child.code is not None  # it has ended
    return rows, markers, child.code


def _fill(protocol: Protocol, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All episodes of the protocol: those in `rows`, and the rest as crashed or cut."""
    spec, per_env = tasks.get(protocol.task), protocol.episodes_per_env
    layout = protocols.rows(spec, protocol)
    known = {(row["env"], row["episode"]): row for row in rows}
    filled = []
    for env, index in enumerate(layout.cell):
        cell = layout.cells[index]
        # Where an episode did not end, those after it did not begin.
        cut = any(known.get((env, k), {}).get("termination") == "cut" for k in range(per_env))
        for episode in range(per_env):
            lost = {
                "difficulty": float(layout.difficulty[env]),
                "factors": layout.factors[env].tolist(),
                "return": math.nan,
                "length": 0,
                "success_once": False,
                "success_at_end": False,
                "termination": "cut" if cut else "crashed",
                "violations": dict.fromkeys(spec.safety, 0),
            }
            row = known.get((env, episode), lost)
            if row["termination"] in FAILED:
                row = row | {"success_once": False, "success_at_end": False}
            success = succeeded(row["success_once"], row["success_at_end"], spec.success_when)
            place = {"env": env, "episode": episode, "grade": cell.grade, "cell": cell.id}
            filled.append(row | place | {"success": success})
    return filled


def write(path: Path, rows: list[dict[str, Any]], protocol: Protocol, algo: str) -> str:
    """Write `episodes.parquet` and return its SHA-256; the same rows give the same bytes."""
    spec = tasks.get(protocol.task)
    factors = [f"{episode_table.FACTOR}{factor.name}" for factor in spec.factors]
    constant = {"task": protocol.task, "algo": algo, "seed": protocol.seed, "engine": protocol.engine}
    flat = [
        row
        | constant
        | dict(zip(factors, row["factors"], strict=True))
        | {f"{episode_table.VIOLATION}{name}": count for name, count in row["violations"].items()}
        for row in rows
    ]
    table = pa.Table.from_pylist(flat, schema=episode_table.schema(spec))
    atomic(path, lambda temporary: pq.write_table(table, temporary))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_record(
    folder: Path,
    protocol: Protocol,
    result: Mapping[str, Any],
    rows: list[dict[str, Any]],
    digest: str,
    seconds: float,
    command: str,
) -> None:
    """Write `evaluation.json` beside the `episodes.parquet` with the hash `digest`.

    Args:
        folder: where both are.
        protocol: which episodes.
        result: of the run whose policy was evaluated.
        rows: the episodes.
        digest: SHA-256 of their file.
        seconds: that the evaluation took.
        command: that does it again.
    """
    spec = tasks.get(protocol.task)
    record = {
        "schema": schemas.SCHEMA,
        **{key: result[key] for key in ("suite_version", "task", "algo", "seed", "policy_sha256")},
        "engine": protocol.engine,
        "trained_on": result["engine"],
        "settings": asdict(protocol),
        "protocol": protocols.identity(spec, protocol),
        **summary(rows),
        "evaluation_time_s": seconds,
        "episodes_sha256": digest,
        "command": command,
        "provenance": collect(spec, command, protocol.engine, result["algo"], result["curriculum"]) | {"ended": now()},
    }
    write_checked(folder / "evaluation.json", record, schemas.Evaluation)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """`success`, `episodes`, `return` and `violations` (mean steps over each safety limit), each by grade.

    They are of the nominal cells, and `cells` has success and episodes of all others. The mean return leaves out
    episodes without one.
    """
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_cell.setdefault(row["cell"], []).append(row)
    by_grade = {grade: by_cell.pop(f"nominal/{grade}") for grade in GRADES}
    returns = {g: [r["return"] for r in by_grade[g] if math.isfinite(r["return"])] for g in GRADES}
    limits = by_grade[GRADES[0]][0]["violations"]
    return {
        "success": {g: _success(by_grade[g]) for g in GRADES},
        "episodes": {g: len(by_grade[g]) for g in GRADES},
        "return": {g: sum(returns[g]) / len(returns[g]) if returns[g] else math.nan for g in GRADES},
        "violations": {
            limit: {g: sum(r["violations"][limit] for r in by_grade[g]) / len(by_grade[g]) for g in GRADES}
            for limit in limits
        },
        "cells": {cell: {"success": _success(of), "episodes": len(of)} for cell, of in by_cell.items()},
    }


def _success(rows: list[dict[str, Any]]) -> float:
    return sum(row["success"] for row in rows) / len(rows)
