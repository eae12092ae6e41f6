"""Submitted policies evaluated again, in processes of their own, and compared with what was submitted."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import tasks
from leaderboard.submissions.checks import Submitted
from leaderboard.submissions.episodes import cells_of
from leaderboard.submissions.isolation import environment
from suite.execute import process
from suite.report import compare
from suite.runs.rundir import read_json

START_S = 1800.0  # [s] until the first step: robots are converted, kernels compiled
RATE = 200.0  # [env steps/s] at the least; the slowest task on two CPU cores makes more than twice that
LIMIT_S = 24 * 3600.0  # [s] of all evaluations of a submission


class Undecided(RuntimeError):
    """The evaluation could not be repeated here, which says nothing about the submission; the message says why."""


@dataclass(frozen=True, order=True)
class Unit:
    """What is drawn: one cell of one run on one engine."""

    run: str
    engine: str
    cell: str


@dataclass(frozen=True)
class Repeated:
    """One run on an engine, evaluated again. `why_not` says why bits may differ, `difference` what must not."""

    run: str
    engine: str
    why_not: str | None
    difference: str | None
    cells: list[compare.Cell]
    seconds: float

    def record(self) -> dict[str, Any]:
        """The entry of this repetition in the verdict."""
        counts = [
            {"cell": c.name, "successes": [int(x.sum()) for x in c.success], "episodes": len(c.success[0])}
            for c in self.cells
        ]
        return {
            "run": self.run,
            "engine": self.engine,
            "mode": "statistical" if self.why_not else "bitwise",
            "not_bitwise_because": self.why_not,
            "difference": self.difference,
            "seconds": round(self.seconds, 1),
            "cells": counts,
        }


def units(submitted: Iterable[Submitted]) -> list[Unit]:
    """Every cell of a submission, sorted."""
    return sorted(
        Unit(s.name, engine, cell)
        for s in submitted
        for engine, table in s.episodes.items()
        for cell in set(cells_of(table))
    )


def draw(cells: Sequence[Unit], count: int, bundle_sha256: str, entropy: str) -> list[Unit]:
    """`count` of `cells`, chosen by the bundle's hash and what the verifier adds to it, which nobody knew before."""
    if count >= len(cells):
        return list(cells)
    digest = hashlib.sha256(f"{bundle_sha256}:{entropy}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, dtype="<u4"))
    return [cells[i] for i in sorted(rng.choice(len(cells), count, replace=False))]


def repeat(
    s: Submitted, engine: str, device: str, here: Mapping[str, Any], work: Path, left_s: float = LIMIT_S
) -> Repeated:
    """Evaluate a run's policy on `engine` again, all its cells, which share one simulation, in `left_s` at most [s].

    Raises:
        Undecided: if the evaluation could not be run.
    """
    record = next(e for e in (s.run.evaluation, *s.run.others) if e.engine == engine).record
    names = (_device_name(record), here["cpu"] if device == "cpu" else device)
    why = compare.why_not_bitwise(s.run.task, engine, record["provenance"], here, names)
    start = time.monotonic()
    then = s.episodes[engine]
    now = _evaluate(s, engine, device, work, min(left_s, longest(s, engine)))
    if why:
        difference = compare.other_layout(then, now) or compare.far_off(then, now)
    else:
        difference = compare.first_difference(then, now)
    same_rows = then.num_rows == now.num_rows
    cells = [_cell(name, then, now) for name in dict.fromkeys(cells_of(then))] if same_rows else []
    return Repeated(s.name, engine, why, difference, cells, time.monotonic() - start)


def longest(s: Submitted, engine: str) -> float:
    """How long an evaluation may take [s]: so many episodes of the task's length, at `RATE`."""
    return START_S + s.episodes[engine].num_rows * tasks.get(s.run.task).max_episode_steps / RATE


def _cell(name: str, *tables: pa.Table) -> compare.Cell:
    rows = cells_of(tables[0]) == name  # the same in both

    def pair(column: str) -> tuple[np.ndarray, np.ndarray]:
        one, two = (table[column].to_numpy(zero_copy_only=False)[rows] for table in tables)
        return one, two

    limits = [column for column in tables[0].column_names if column.startswith("violation.")]
    over = {column.removeprefix("violation."): pair(column) for column in limits}
    return compare.Cell(name, pair("success"), pair("return"), over)


def _device_name(record: Mapping[str, Any]) -> str | None:
    """What a result says it was evaluated on; an evaluation on another engine has it in its settings."""
    settings = record.get("settings")
    if isinstance(settings, Mapping):
        return record["provenance"].get("cpu") if settings.get("device") == "cpu" else None
    return record.get("device")


def _evaluate(s: Submitted, engine: str, device: str, work: Path, limit_s: float) -> pa.Table:
    out = work / hashlib.sha256(f"{s.name}/{engine}".encode()).hexdigest()[:16]
    out.mkdir(parents=True, exist_ok=True)
    log = out / "rerun.log"
    arguments = ["--device", device, "--out", str(out), "--physics", engine]  # whatever config.yaml says
    if engine != s.run.entry.engine:
        record = next(e.record for e in s.run.others if e.engine == engine)
        arguments += ["--protocol", record["protocol"]["name"]]
        arguments += ["--episodes", str(s.config["eval"]["episodes_per_grade"])]
    with log.open("wb") as file:
        try:
            code = subprocess.run(
                [sys.executable, "-m", "suite.evaluate", str(s.folder), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(),
                timeout=limit_s,
            ).returncode
        except subprocess.TimeoutExpired:
            raise Undecided(f"{s.name} on {engine}: the evaluation took more than {limit_s / 3600:.2g} h") from None
    if code or read_json(out / "evaluation.json") is None:
        for file in (log, out / "evaluate.log"):  # they go with the folder
            print(process.tail(file), file=sys.stderr)
        raise Undecided(f"{s.name} on {engine}: {process.reason(code, log).partition(' (see ')[0]}")
    return pq.read_table(out / "episodes.parquet")
