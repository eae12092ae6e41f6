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

from leaderboard.checks import Submitted
from leaderboard.episodes import cells_of
from leaderboard.isolation import environment
from suite import compare, process
from suite.rundir import read_json

TIMEOUT_S = 6 * 3600.0  # [s] of one evaluation


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
    """One run on an engine, evaluated again. `why_not` says why bits may differ, `difference` where they must not."""

    run: str
    engine: str
    why_not: str | None
    difference: str | None
    cells: list[compare.Cell]
    seconds: float

    def record(self) -> dict[str, Any]:
        """What a verdict holds of it."""
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


def repeat(s: Submitted, engine: str, device: str, here: Mapping[str, Any], work: Path) -> Repeated:
    """Evaluate a run's policy on `engine` again, all its cells, which share one simulation.

    Raises:
        Undecided: if the evaluation could not be run.
    """
    record = next(e for e in (s.run.evaluation, *s.run.others) if e.engine == engine).record
    names = (_device_name(record), here["cpu"] if device == "cpu" else device)
    why = compare.why_not_bitwise(s.run.task, engine, record["provenance"], here, names)
    start = time.monotonic()
    then, now = s.episodes[engine], _evaluate(s, engine, device, work)
    cells = [_cell(name, then, now) for name in dict.fromkeys(cells_of(then))]
    seconds = time.monotonic() - start
    return Repeated(s.name, engine, why, None if why else compare.first_difference(then, now), cells, seconds)


def _cell(name: str, *tables: pa.Table) -> compare.Cell:
    rows = [cells_of(table) == name for table in tables]
    columns = [
        tuple(t[column].to_numpy(zero_copy_only=False)[r] for t, r in zip(tables, rows, strict=True))
        for column in ("success", "return")
    ]
    return compare.Cell(name, *columns)


def _device_name(record: Mapping[str, Any]) -> str | None:
    """What a result says it was evaluated on; an evaluation on another engine has it in its settings."""
    settings = record.get("settings")
    if isinstance(settings, Mapping):
        return record["provenance"].get("cpu") if settings.get("device") == "cpu" else None
    return record.get("device")


def _evaluate(s: Submitted, engine: str, device: str, work: Path) -> pa.Table:
    out = work / hashlib.sha256(f"{s.name}/{engine}".encode()).hexdigest()[:16]
    out.mkdir(parents=True, exist_ok=True)
    log = out / "rerun.log"
    arguments = ["--device", device, "--out", str(out)]
    if engine != s.run.entry.engine:
        record = next(e.record for e in s.run.others if e.engine == engine)
        arguments += ["--physics", engine, "--protocol", record["protocol"]["name"]]
        arguments += ["--episodes", str(s.config["eval"]["episodes_per_grade"])]
    with log.open("wb") as file:
        try:
            code = subprocess.run(
                [sys.executable, "-m", "suite.evaluate", str(s.folder), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(),
                timeout=TIMEOUT_S,
            ).returncode
        except subprocess.TimeoutExpired:
            raise Undecided(f"{s.name} on {engine}: the evaluation took more than {TIMEOUT_S / 3600:g} h") from None
    if code or read_json(out / "evaluation.json") is None:
        raise Undecided(f"{s.name} on {engine}: {process.reason(code, log)}")
    return pq.read_table(out / "episodes.parquet")
