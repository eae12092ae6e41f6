"""Submitted policies evaluated again, in processes of their own, and compared with what was submitted."""

from __future__ import annotations

import hashlib
import os
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
from leaderboard.schema import GRADES
from suite import compare, process
from suite.rundir import read_json

TIMEOUT_S = 6 * 3600.0  # [s] of one evaluation
PASSED_ON = (  # the evaluation of a stranger's policy sees no keys, tokens or database
    *("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "WARP_CACHE_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
)


class Undecided(RuntimeError):
    """The evaluation could not be repeated here, which says nothing about the submission; the message says why."""


@dataclass(frozen=True, order=True)
class Unit:
    """What is drawn: one cell of one run on one engine."""

    run: str
    engine: str
    cell: str


def units(submitted: Iterable[Submitted]) -> list[Unit]:
    """Every cell of a submission, sorted."""
    return sorted(Unit(s.name, engine, cell) for s in submitted for engine in s.episodes for cell in GRADES)


def draw(cells: Sequence[Unit], count: int, bundle_sha256: str, entropy: str) -> list[Unit]:
    """`count` of `cells`, chosen by the bundle's hash and what the verifier adds to it, which nobody knew before."""
    if count >= len(cells):
        return list(cells)
    rng = np.random.default_rng(seed_of(bundle_sha256, entropy, "cells"))
    return [cells[i] for i in sorted(rng.choice(len(cells), count, replace=False))]


def seed_of(bundle_sha256: str, entropy: str, purpose: str) -> int:
    """A seed [0, 2^31) that only somebody who knows the verifier's `entropy` can compute."""
    digest = hashlib.sha256(f"{bundle_sha256}:{entropy}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def repeat(s: Submitted, engine: str, device: str, seed: int, here: Mapping[str, Any], work: Path) -> dict[str, Any]:
    """Evaluate a run's policy on `engine` again, all its cells, and compare.

    On the stack of the submission the seed is the protocol's, and the episodes have to be equal in every bit;
    elsewhere it is `seed`, and `cells` of the result is what the statistical test needs.

    Raises:
        Undecided: if the evaluation could not be run.
    """
    evaluation = next(e for e in (s.run.evaluation, *s.run.others) if e.engine == engine)
    then = evaluation.record["provenance"]
    names = (_device_name(evaluation.record), here["cpu"] if device == "cpu" else device)
    why = compare.different_stack(then, here, names)
    seed = s.config["eval"]["seed"] if why is None else seed
    start = time.monotonic()
    table = _evaluate(s, engine, device, seed, work)
    compared = {
        "run": s.name,
        "engine": engine,
        "mode": "bitwise" if why is None else "statistical",
        "not_bitwise_because": why,
        "seed": seed,
        "seconds": round(time.monotonic() - start, 1),
        "cells": [_counts(cell, s.episodes[engine], table) for cell in GRADES],
    }
    if why is None:
        compared["difference"] = compare.first_difference(s.episodes[engine], table)
    return compared | {"returns": [_returns(cell, s.episodes[engine], table) for cell in GRADES]}


def _device_name(record: Mapping[str, Any]) -> str | None:
    """What a result says it was evaluated on; an evaluation on another engine has it in its protocol."""
    protocol = record.get("protocol")
    if isinstance(protocol, Mapping):
        return record["provenance"].get("cpu") if protocol.get("device") == "cpu" else None
    return record.get("device")


def _evaluate(s: Submitted, engine: str, device: str, seed: int, work: Path) -> pa.Table:
    out = work / hashlib.sha256(f"{s.name}/{engine}".encode()).hexdigest()[:16]
    out.mkdir(parents=True, exist_ok=True)
    log = out / "rerun.log"
    arguments = ["--device", device, "--seed", str(seed), "--out", str(out)]
    if engine != s.run.entry.engine:
        arguments += ["--physics", engine]
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


def environment() -> dict[str, str]:
    """What a process that handles a stranger's files gets to see of this one's environment."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed | {process.PARENT: str(os.getpid()), "OMNI_KIT_ACCEPT_EULA": "YES", "WANDB_MODE": "disabled"}


def _rows(cell: str, table: pa.Table) -> np.ndarray:
    return table["grade"].to_numpy(zero_copy_only=False) == cell


def _counts(cell: str, *tables: pa.Table) -> dict[str, Any]:
    successes = [int(table["success"].to_numpy(zero_copy_only=False)[_rows(cell, table)].sum()) for table in tables]
    episodes = [int(_rows(cell, table).sum()) for table in tables]
    return {"cell": cell, "successes": successes, "episodes": episodes}


def _returns(cell: str, *tables: pa.Table) -> tuple[np.ndarray, ...]:
    values = [table["return"].to_numpy()[_rows(cell, table)] for table in tables]
    return tuple(v[np.isfinite(v)] for v in values)
