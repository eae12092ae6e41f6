"""Find and read run directories. What is damaged, unfinished or foreign is listed with the reason, never raised.

The evaluated episodes are the evidence: success is counted from `episodes.parquet`, and a run whose `result.json`
or hashes say otherwise is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboard import parallel
from leaderboard.schema import GRADES, Unusable, check_evaluation, check_result, read_json

RUN_FILES = {"result.json", "status.json", "config.yaml", "provenance.json"}
EPISODE_COLUMNS = ("task", "algo", "grade", "return", "length", "success", "engine")
CELL = re.compile(r"nominal/g[1-5]|(factor/[a-z0-9_.-]{1,64}/[0-9]|category/[a-z]{1,64}|all/mixed|held_out/mixed)")
CURVE_POINTS = 80
MAX_POINTS = 40  # values of a factor; the protocol has two at each of five magnitudes
PARALLEL_FROM = 400  # run directories; below, starting processes takes longer than it saves


@dataclass(frozen=True, order=True)
class Entry:
    """What is ranked: everything of a run but its task and seed. `overrides` is canonical JSON, `{}` for none.

    `budget` has `-open` behind it in the open division, which is ranked apart. `submitter` is empty for runs that no
    submission brought.
    """

    budget: str
    algo: str
    curriculum: str
    randomization: str
    engine: str
    overrides: str = "{}"
    submitter: str = ""


@dataclass(frozen=True)
class Cells:
    """Episodes by cell of the robustness protocol; arrays [cells], in the order of `names`, which are sorted.

    `violations` has the steps over each safety limit, summed over a cell's episodes. `reference` is the grade of all
    cells but the nominal ones; empty where there are no others. `points` has, for each factor with cells of its own,
    the values that its episodes had with their successes and episodes, [values, 3], from the lowest value.
    """

    names: tuple[str, ...]
    reference: str
    successes: np.ndarray
    episodes: np.ndarray
    violations: Mapping[str, np.ndarray]
    points: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """Evaluated episodes on one engine; arrays [grades] in the order of `GRADES`, of the nominal cells alone.

    The mean return leaves out episodes without one, which crashed, and is NaN where there is none.
    """

    engine: str
    successes: np.ndarray
    episodes: np.ndarray
    returns: np.ndarray
    cells: Cells
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
    curve: Mapping[str, np.ndarray] | None = None  # see `learning_curve`; None where nothing was trained

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
    for path, run, skipped in parallel.each(_try_run, [(f, root) for f in _run_folders(root)], PARALLEL_FROM):
        if run is not None and run.key in seen:
            found.skipped.append(Skipped(path, f"the same run as {seen[run.key]}"))
            continue
        if run is not None:
            seen[run.key] = path
            found.runs.append(run)
        found.skipped.extend(skipped)
    found.runs.sort(key=lambda run: run.key)
    found.skipped.sort()
    return found


def _try_run(folder: Path, root: Path) -> tuple[str, Run | None, list[Skipped]]:
    path = os.fsencode(folder.relative_to(root).as_posix()).decode(errors="replace")  # names may be any bytes
    try:
        run, notes = read_run(folder, path)
        run = _of_submission(run, folder, root)
    except Unusable as error:
        return path, None, [Skipped(path, str(error))]
    return path, run, notes


def _of_submission(run: Run, folder: Path, root: Path) -> Run:
    """The run with its submitter and division: beside runs that were accepted lies the manifest of their bundle."""
    for above in folder.parents:
        if not above.is_relative_to(root):
            return run
        if (above / "manifest.json").is_file():
            manifest = read_json(above / "manifest.json")
            budget = run.entry.budget + ("-open" if manifest.get("division") == "open" else "")
            return replace(run, entry=replace(run.entry, budget=budget, submitter=str(manifest.get("submitter"))))
    return run


def _run_folders(root: Path) -> list[Path]:
    """Folders that a run has begun to fill, sorted; nothing is searched below one.

    A complete run of a policy for several tasks stands for the runs of its tasks, which lie in `tasks/`.
    """
    folders = []
    for folder, below, files in os.walk(root):
        if RUN_FILES & set(files):
            of_several = "tasks" in below and "result.json" in files
            below[:] = ["tasks"] if of_several else []
            folders += [] if of_several else [Path(folder)]
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
            curve = learning_curve(folder / "progress.parquet")
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
    table = _read_parquet(path, EPISODE_COLUMNS, ("cell", "factor.", "violation."))
    for column, wanted in (("task", result["task"]), ("algo", result["algo"]), ("engine", engine)):
        names, _ = _text(path, table, column)
        if others := set(names) - {wanted}:
            raise Unusable(f"{path.name} has episodes of {column} {sorted(others)[0]!r}, not only {wanted!r}")
    names, codes = _text(path, table, "grade")
    if set(names) != set(GRADES):
        raise Unusable(f"{path.name} has to have episodes of g1 to g5 and nothing else")
    grade = np.array([GRADES.index(name) for name in names])[codes]
    if not pa.types.is_boolean(table["success"].type) or table["success"].null_count:
        raise Unusable(f'"success" in {path.name} has to be true or false in every row')
    success = table["success"].to_numpy()
    returns, lengths = _floats(path, table, "return"), _floats(path, table, "length")
    known = np.isfinite(returns)
    if not known[success].all() or not (lengths >= 0).all():
        raise Unusable(f"{path.name} has an impossible return or length")
    cells, nominal = _read_cells(path, table, grade, success)
    size = len(GRADES)
    counted, rows = np.bincount(grade[nominal & known], minlength=size), grade[nominal]
    total = np.bincount(grade[nominal & known], returns[nominal & known], minlength=size)
    evaluation = Evaluation(
        engine=engine,
        successes=np.bincount(rows[success[nominal]], minlength=size),
        episodes=np.bincount(rows, minlength=size),
        returns=np.where(counted, total / np.maximum(counted, 1), np.nan),
        cells=cells,
        episodes_sha256=_sha256(path),
        record=record,
    )
    _check_claims(record, evaluation)
    return evaluation


def _read_cells(path: Path, table: pa.Table, grade: np.ndarray, success: np.ndarray) -> tuple[Cells, np.ndarray]:
    """The episodes by cell, and which rows [episodes] are nominal: all, in files from before the protocol."""
    if "cell" in table.column_names:
        names, codes = _text(path, table, "cell")
    else:
        names, codes = [f"nominal/{g}" for g in GRADES], grade
    for name in names:
        if not CELL.fullmatch(name):
            raise Unusable(f"{path.name} has episodes of a cell {name!r}, which no protocol has")
    if missing := {f"nominal/{g}" for g in GRADES} - set(names):
        raise Unusable(f"{path.name} has no episodes of cell {sorted(missing)[0]}")
    own = np.array([GRADES.index(name[-2:]) if name.startswith("nominal/") else -1 for name in names])[codes]
    nominal = own >= 0
    if (own[nominal] != grade[nominal]).any():
        raise Unusable(f"{path.name} has a nominal episode of another grade than its cell")
    at = np.unique(grade[~nominal])
    if len(at) > 1:
        raise Unusable(f"{path.name} has perturbed episodes of more than one grade")
    size = len(names)
    episodes = np.bincount(codes, minlength=size)
    points = {}
    for factor in sorted({name.split("/")[1] for name in names if name.startswith("factor/")}):
        if (column := f"factor.{factor}") in table.column_names:
            here = np.isin(codes, [i for i, name in enumerate(names) if name.startswith(f"factor/{factor}/")])
            values, which = np.unique(_floats(path, table, column)[here], return_inverse=True)
            if len(values) <= MAX_POINTS and np.isfinite(values).all():
                points[factor] = np.stack([values, np.bincount(which, success[here]), np.bincount(which)], axis=1)
    violations = {}
    for column in (c for c in table.column_names if c.startswith("violation.")):
        steps = _floats(path, table, column)
        if not (steps >= 0).all():
            raise Unusable(f"{path.name} has an impossible number of steps in {column}")
        violations[column.removeprefix("violation.")] = np.bincount(codes, steps, minlength=size)
    order = sorted(range(size), key=names.__getitem__)
    cells = Cells(
        names=tuple(names[i] for i in order),
        reference=GRADES[at[0]] if len(at) else "",
        successes=np.bincount(codes[success], minlength=size)[order],
        episodes=episodes[order],
        violations={limit: steps[order] for limit, steps in sorted(violations.items())},
        points=points,
    )
    return cells, nominal


def _check_claims(record: Mapping[str, Any], found: Evaluation) -> None:
    for grade, k, n in zip(GRADES, found.successes, found.episodes, strict=True):
        claimed = record["success"][grade]
        if n != record["episodes"][grade]:
            raise Unusable(f"{record['episodes'][grade]} episodes are claimed at {grade}, there are {n}")
        if abs(k / n - claimed) > 1e-6:
            raise Unusable(f"success {claimed:.4g} is claimed at {grade}, the episodes give {k / n:.4g}")
    if found.episodes_sha256 != record["episodes_sha256"]:
        raise Unusable("episodes.parquet is not the file that is named by episodes_sha256")


def learning_curve(path: Path) -> dict[str, np.ndarray]:
    """Training in `CURVE_POINTS` equal bins of env steps; arrays [points]. Raises `Unusable`.

    `env_steps` is the end of each bin, `success_mean` the mean of its iterations (NaN where no episode ended in it),
    and `wall_time_s` the training time up to there. Binning puts seeds on common steps and keeps the page small.
    """
    table = _read_parquet(path, ("env_steps", "success_mean", "wall_time_s"))
    steps, success, wall = (_floats(path, table, name) for name in ("env_steps", "success_mean", "wall_time_s"))
    with np.errstate(invalid="ignore"):
        if not np.isfinite(steps).all() or (np.diff(steps) < 0).any() or ((success < 0) | (success > 1)).any():
            raise Unusable("a success or a number of env steps is out of range")
    if not len(steps):
        raise Unusable("it has no rows")
    ends = np.linspace(0, steps[-1], CURVE_POINTS + 1)
    known = np.isfinite(success)
    index = np.clip(np.searchsorted(ends, steps[known], side="left") - 1, 0, CURVE_POINTS - 1)
    count = np.bincount(index, minlength=CURVE_POINTS)
    total = np.bincount(index, success[known], minlength=CURVE_POINTS)
    mean = np.where(count, total / np.maximum(count, 1), np.nan)
    return {"env_steps": ends[1:], "success_mean": mean, "wall_time_s": np.interp(ends[1:], steps, wall)}


def _read_parquet(path: Path, columns: tuple[str, ...], prefixes: tuple[str, ...] = ()) -> pa.Table:
    """The `columns`, which have to be there, and those that start with one of `prefixes`."""
    try:
        with path.open("rb") as file:
            reader = pq.ParquetFile(file)
            present = reader.schema_arrow.names
            wanted = [*columns, *(name for name in present if prefixes and name.startswith(prefixes))]
            table = reader.read(columns=list(dict.fromkeys(wanted)), use_threads=False)
    except OSError as error:
        reason = error.strerror if error.errno else "damaged"
        raise Unusable(f"{path.name} cannot be read: {reason}") from None
    except pa.ArrowException:
        raise Unusable(f"{path.name} is damaged: not a parquet file") from None
    if missing := set(columns) - set(table.column_names):
        raise Unusable(f'{path.name} has no column "{sorted(missing)[0]}"')
    if len(set(table.column_names)) < len(table.column_names):
        raise Unusable(f"{path.name} has a column twice")
    return table


def _text(path: Path, table: pa.Table, column: str) -> tuple[list[str], np.ndarray]:
    """The different texts of a column, and for each row which of them it has."""
    values = table[column]
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)) or values.null_count:
        raise Unusable(f'"{column}" in {path.name} has to have a text in every row')
    values = values.dictionary_encode().combine_chunks()
    return values.dictionary.to_pylist(), values.indices.to_numpy()


def _floats(path: Path, table: pa.Table, column: str) -> np.ndarray:
    kind = table[column].type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise Unusable(f'"{column}" in {path.name} has to have numbers')
    return table[column].to_numpy().astype(float)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
