"""Find and read run directories. What is damaged, unfinished or foreign is listed with the reason, never raised.

The evaluated episodes are the evidence: success is counted from `episodes.parquet`, and a run whose `result.json`
or hashes say otherwise is left out.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboard.schema import GRADES, Unusable, check_evaluation, check_result, read_json

RUN_FILES = {"result.json", "status.json", "config.yaml", "provenance.json"}
EPISODE_COLUMNS = ("task", "algo", "grade", "return", "length", "success", "engine")


@dataclass(frozen=True, order=True)
class Entry:
    """What is ranked: everything of a run but its task and seed. `overrides` is canonical JSON, `{}` for none."""

    budget: str
    algo: str
    curriculum: str
    randomization: str
    engine: str
    overrides: str = "{}"


@dataclass(frozen=True)
class Evaluation:
    """Evaluated episodes on one engine; arrays [grades] in the order of `GRADES`.

    The mean return leaves out episodes without one, which crashed, and is NaN where there is none.
    """

    engine: str
    successes: np.ndarray
    episodes: np.ndarray
    returns: np.ndarray
    episodes_sha256: str
    record: Mapping[str, Any]  # the JSON object that names this hash: result.json or evaluation.json


@dataclass(frozen=True)
class Run:
    """One complete run. `path` is relative to the folder that was searched, with forward slashes."""

    path: str
    task: str
    entry: Entry
    seed: int
    result: Mapping[str, Any]
    ended: datetime
    config: str
    evaluation: Evaluation
    others: tuple[Evaluation, ...] = ()  # on further engines, sorted by engine
    curve: Mapping[str, np.ndarray] | None = None  # env_steps, success_mean; None where nothing was trained

    @property
    def key(self) -> tuple[str, Entry, int]:
        """Identity: two directories with the same key are the same run."""
        return self.task, self.entry, self.seed


@dataclass(frozen=True, order=True)
class Skipped:
    """A path, relative to the folder that was searched, that was left out, and why."""

    path: str
    reason: str


@dataclass
class Found:
    """What a search found; both lists sorted, so that they do not depend on the order of files on the disk."""

    runs: list[Run] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def find(root: Path) -> Found:
    """Read every run directory under `root`. Raises `OSError` only if `root` itself cannot be listed."""
    os.scandir(root).close()
    found = Found()
    seen: dict[tuple, str] = {}
    for folder in _run_folders(root):
        path = os.fsencode(folder.relative_to(root).as_posix()).decode(errors="replace")  # names may be any bytes
        try:
            run, notes = read_run(folder, path)
            if run.key in seen:
                raise Unusable(f"the same run as {seen[run.key]}")
        except Unusable as error:
            found.skipped.append(Skipped(path, str(error)))
            continue
        seen[run.key] = path
        found.runs.append(run)
        found.skipped.extend(notes)
    found.runs.sort(key=lambda run: run.key)
    found.skipped.sort()
    return found


def _run_folders(root: Path) -> list[Path]:
    """Folders that a run has begun to fill, sorted; nothing is searched below one."""
    folders = []
    for folder, below, files in os.walk(root):
        if RUN_FILES & set(files):
            folders.append(Path(folder))
            below.clear()
    return sorted(folders)


def read_run(folder: Path, path: str) -> tuple[Run, list[Skipped]]:
    """Read one run directory; also returns what of it was left out. Raises `Unusable`."""
    if not (folder / "result.json").exists():
        raise Unusable(_why_unfinished(folder))
    result = read_json(folder / "result.json")
    check_result(result)
    own = _read_evaluation(folder, result, result["engine"], result)
    policy = folder / "policy.safetensors"
    if policy.is_file() and _sha256(policy) != result["policy_sha256"]:
        raise Unusable("policy.safetensors is not the file that result.json names by policy_sha256")
    notes = []
    others = []
    for extra in sorted(folder.glob("evaluations/[!.]*/")):
        try:
            others.append(_read_other(extra, result))
        except Unusable as error:
            notes.append(Skipped(f"{path}/evaluations/{extra.name}", str(error)))
    curve = None
    if (folder / "progress.parquet").exists():
        try:
            curve = _read_curve(folder / "progress.parquet")
        except Unusable as error:
            notes.append(Skipped(f"{path}/progress.parquet", str(error)))
    config = folder / "config.yaml"
    run = Run(
        path=path,
        task=result["task"],
        entry=Entry(
            budget=result["budget"],
            algo=result["algo"],
            curriculum=result["curriculum"],
            randomization=result["randomization"],
            engine=result["engine"],
            overrides=json.dumps(result["overrides"], sort_keys=True),
        ),
        seed=result["seed"],
        result=result,
        ended=datetime.fromisoformat(result["provenance"]["ended"]),
        config=config.read_text(errors="replace") if config.is_file() else "",
        evaluation=own,
        others=tuple(others),
        curve=curve,
    )
    return run, notes


def _why_unfinished(folder: Path) -> str:
    try:
        status = read_json(folder / "status.json")
    except Unusable:
        return "no result.json: the run did not finish"
    state = " ".join(str(status.get("state")).split())
    if state == "failed":
        message = " ".join(str(status.get("message") or "no message").split())
        return f"the run failed: {message[:300]}"
    return (
        f"no result.json: the run was {state} at env step {status.get('env_steps')} of {status.get('total_env_steps')}"
    )


def _read_other(folder: Path, result: Mapping[str, Any]) -> Evaluation:
    """The evaluation of a run's policy on another engine, which the folder is named after."""
    if not (folder / "evaluation.json").exists():
        raise Unusable("no evaluation.json: the evaluation did not finish")
    record = read_json(folder / "evaluation.json")
    check_evaluation(record)
    if record["engine"] != folder.name or record["engine"] == result["engine"]:
        raise Unusable(f"evaluation.json is of engine {record['engine']}")
    if record["policy_sha256"] != result["policy_sha256"]:
        raise Unusable("it evaluated another policy than the run's")
    return _read_evaluation(folder, result, folder.name, record)


def _read_evaluation(folder: Path, result: Mapping[str, Any], engine: str, record: Mapping[str, Any]) -> Evaluation:
    """Count the episodes in `folder` by grade; they have to be the run's, on `engine`, and as `record` says."""
    path = folder / "episodes.parquet"
    table = _read_parquet(path, EPISODE_COLUMNS)
    for column, wanted in (("task", result["task"]), ("algo", result["algo"]), ("engine", engine)):
        if others := set(table[column].to_pylist()) - {wanted}:
            raise Unusable(f"{path.name} has episodes of {column} {sorted(map(str, others))[0]!r}, not only {wanted!r}")
    grade = np.array(table["grade"].to_pylist(), dtype=object)
    if set(grade) != set(GRADES):
        raise Unusable(f"{path.name} has to have episodes of g1 to g5 and nothing else")
    if not pa.types.is_boolean(table["success"].type) or table["success"].null_count:
        raise Unusable(f'"success" in {path.name} has to be true or false in every row')
    try:
        success = table["success"].to_numpy()
        returns = table["return"].to_numpy().astype(float)
        lengths = table["length"].to_numpy().astype(float)
    except (pa.ArrowException, ValueError, TypeError):
        raise Unusable(f'"return" and "length" in {path.name} have to be numbers') from None
    known = np.isfinite(returns)
    if not known[success].all() or not (lengths >= 0).all():
        raise Unusable(f"{path.name} has an impossible return or length")
    rows = [grade == g for g in GRADES]
    evaluation = Evaluation(
        engine=engine,
        successes=np.array([success[r].sum() for r in rows]),
        episodes=np.array([r.sum() for r in rows]),
        returns=np.array([returns[r & known].mean() if (r & known).any() else math.nan for r in rows]),
        episodes_sha256=_sha256(path),
        record=record,
    )
    _check_claims(record, evaluation)
    return evaluation


def _check_claims(record: Mapping[str, Any], found: Evaluation) -> None:
    for grade, k, n in zip(GRADES, found.successes, found.episodes, strict=True):
        claimed = record["success"][grade]
        if n != record["episodes"][grade]:
            raise Unusable(f"{record['episodes'][grade]} episodes are claimed at {grade}, there are {n}")
        if abs(k / n - claimed) > 1e-6:
            raise Unusable(f"success {claimed:.4g} is claimed at {grade}, the episodes give {k / n:.4g}")
    if found.episodes_sha256 != record["episodes_sha256"]:
        raise Unusable("episodes.parquet is not the file that is named by episodes_sha256")


def _read_curve(path: Path) -> dict[str, np.ndarray]:
    """Env steps and success of the training episodes, in order; success is NaN where no episode ended."""
    table = _read_parquet(path, ("env_steps", "success_mean"))
    try:
        curve = {name: table[name].to_numpy().astype(float) for name in table.column_names}
    except (pa.ArrowException, ValueError, TypeError):
        raise Unusable("its columns have to be numbers") from None
    success = curve["success_mean"]
    if not np.isfinite(curve["env_steps"]).all() or ((success < 0) | (success > 1)).any():
        raise Unusable("a success or a number of env steps is out of range")
    return curve


def _read_parquet(path: Path, columns: tuple[str, ...]) -> pa.Table:
    try:
        with path.open("rb") as file:
            table = pq.ParquetFile(file).read(columns=list(columns))
    except OSError as error:
        reason = error.strerror if error.errno else "damaged"
        raise Unusable(f"{path.name} cannot be read: {reason}") from None
    except pa.ArrowException:
        raise Unusable(f"{path.name} is damaged: not a parquet file") from None
    if missing := set(columns) - set(table.column_names):
        raise Unusable(f'{path.name} has no column "{sorted(missing)[0]}"')
    return table


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
