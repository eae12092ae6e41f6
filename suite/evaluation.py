"""The evaluation of a policy: which episodes, run in a process of its own, and what they say."""

from __future__ import annotations

import hashlib
import json
import math
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import tasks
from suite import process
from suite.rundir import atomic
from tasks.spec import GRADES, difficulty_of

FAILED = ("cut", "non_finite", "crashed")
"""Terminations of episodes that count as failures whatever happened in them."""

_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("task", "algo", "grade")),
        ("difficulty", pa.float64()),
        *((name, pa.int64()) for name in ("seed", "env", "episode")),
        ("return", pa.float64()),
        ("length", pa.int64()),
        *((name, pa.bool_()) for name in ("success_once", "success_at_end", "success")),
        *((name, pa.string()) for name in ("termination", "engine")),
    ]
)


OnProgress = Callable[[int, str], None]


class EvaluationError(RuntimeError):
    """The evaluation could not be run; the message is the reason, in one line."""


@dataclass(frozen=True)
class Protocol:
    """Which episodes: of every grade `episodes_per_grade`, the first `episodes_per_env` of each env."""

    task: str
    engine: str
    device: str
    episodes_per_grade: int
    episodes_per_env: int
    seed: int

    @property
    def episodes(self) -> int:
        """How many there are in all."""
        return len(GRADES) * self.episodes_per_grade


def evaluate(protocol: Protocol, policy: Path, log: Path, on_progress: OnProgress) -> list[dict[str, Any]]:
    """Rows of all episodes, sorted by env and episode.

    `on_progress` gets how many are done, and what takes long if the simulator has to do something first.

    An engine that crashes is tried once more; what is still missing then are episodes that failed.

    Raises:
        EvaluationError: if the engine did not start, the disk is full, or the process was killed from outside.
    """
    for last in (False, True):
        rows, markers, code = _run(protocol, policy, log, on_progress)
        if "done" in markers:
            break
        if "started" not in markers or code == process.DISK_FULL or -code in _FROM_OUTSIDE:
            raise EvaluationError(f"evaluation on {protocol.engine}: {process.reason(code, log)}")
        with open(log, "a") as file:
            print(f"the engine crashed in the evaluation ({process.reason(code, log)}); last try: {last}", file=file)
    return _fill(protocol, rows)


def _run(
    protocol: Protocol, policy: Path, log: Path, on_progress: OnProgress
) -> tuple[list[dict[str, Any]], set[str], int]:
    rows, markers = [], set()
    with process.Child(["suite.rollout", json.dumps(asdict(protocol)), str(policy)], log) as child:
        for event in child:
            if event is None:
                on_progress(len(rows), "" if rows else child.news())
            elif "marker" in event:
                markers.add(event["marker"])
            else:
                rows.append(event)
    return rows, markers, child.code


def _fill(protocol: Protocol, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All episodes of the protocol: those in `rows`, and the rest as crashed or cut."""
    when = tasks.get(protocol.task).success_when
    per_env = protocol.episodes_per_env
    envs_per_grade = protocol.episodes_per_grade // per_env
    known = {(row["env"], row["episode"]): row for row in rows}
    filled = []
    for env in range(len(GRADES) * envs_per_grade):
        grade = GRADES[env // envs_per_grade]
        # Where an episode did not end, those after it did not begin.
        cut = any(known.get((env, k), {}).get("termination") == "cut" for k in range(per_env))
        for episode in range(per_env):
            lost = {
                "difficulty": difficulty_of(grade),
                "return": math.nan,
                "length": 0,
                "success_once": False,
                "success_at_end": False,
                "termination": "cut" if cut else "crashed",
            }
            row = known.get((env, episode), lost)
            if row["termination"] in FAILED:
                row = row | {"success_once": False, "success_at_end": False}
            success = row["success_at_end"] if when == "end" else row["success_once"]
            filled.append(row | {"env": env, "episode": episode, "grade": grade, "success": success})
    return filled


def write(path: Path, rows: list[dict[str, Any]], protocol: Protocol, algo: str) -> str:
    """Write `episodes.parquet` and return its SHA-256; the same rows give the same bytes."""
    constant = {"task": protocol.task, "algo": algo, "seed": protocol.seed, "engine": protocol.engine}
    table = pa.Table.from_pylist([row | constant for row in rows], schema=_SCHEMA)
    atomic(path, lambda temporary: pq.write_table(table, temporary))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`success`, `episodes` and `return`, each by grade; the mean return leaves out episodes without one."""
    by_grade = {grade: [row for row in rows if row["grade"] == grade] for grade in GRADES}
    returns = {g: [r["return"] for r in by_grade[g] if math.isfinite(r["return"])] for g in GRADES}
    return {
        "success": {g: sum(r["success"] for r in by_grade[g]) / len(by_grade[g]) for g in GRADES},
        "episodes": {g: len(by_grade[g]) for g in GRADES},
        "return": {g: sum(returns[g]) / len(returns[g]) if returns[g] else math.nan for g in GRADES},
    }
