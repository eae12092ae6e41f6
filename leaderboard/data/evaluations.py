"""Evaluated episodes, counted by grade and by cell of the protocol, and checked against what is claimed of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from leaderboard.data import parquet
from suite.runs.episode_table import FACTOR, NEEDED, VIOLATION
from suite.untrusted import Unusable
from tasks.spec import GRADES

CELL = re.compile(r"nominal/g[1-5]|(factor/[a-z0-9_.-]{1,64}/[0-9]|category/[a-z]{1,64}|all/mixed|held_out/mixed)")
MAX_POINTS = 40  # values of a factor; the protocol has two at each of five magnitudes


@dataclass(frozen=True)
class Cells:
    """Episodes by cell of the robustness protocol; arrays [cells], in the order of `names`, which are sorted.

    `violations` has the steps over each safety limit, summed over a cell's episodes. `reference` is the grade of all
    cells but the nominal ones; empty where there are no others. `items` has, for each cell, successes and episodes
    [items, 2] by env, whose episodes share their factors' values; each episode is an item where no env is named.
    `points` has, for each factor with cells of its own, the values that its episodes had, each with its items, from the
    lowest value.
    """

    names: tuple[str, ...]
    reference: str
    successes: np.ndarray
    episodes: np.ndarray
    violations: Mapping[str, np.ndarray]
    items: tuple[np.ndarray, ...]
    points: Mapping[str, Mapping[float, np.ndarray]]


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


def read(folder: Path, result: Mapping[str, Any], engine: str, record: Mapping[str, Any]) -> Evaluation:
    """Count the episodes in `folder`. Raises `Unusable` unless they are of the run `result` and what `record` says."""
    path = folder / "episodes.parquet"
    table = parquet.read(path, record, "episodes_sha256", NEEDED, ("cell", "env", FACTOR, VIOLATION))
    for column, wanted in (("task", result["task"]), ("algo", result["algo"]), ("engine", engine)):
        names, _ = parquet.texts(path, table, column)
        if others := set(names) - {wanted}:
            raise Unusable(f"{path.name} has episodes of {column} {sorted(others)[0][:60]!r}, not only {wanted!r}")
    names, codes = parquet.texts(path, table, "grade")
    if set(names) != set(GRADES):
        raise Unusable(f"{path.name} has to have episodes of g1 to g5 and nothing else")
    grade = np.array([GRADES.index(name) for name in names])[codes]
    if not pa.types.is_boolean(table["success"].type) or table["success"].null_count:
        raise Unusable(f'"success" in {path.name} has to be true or false in every row')
    success = table["success"].to_numpy()
    returns, lengths = parquet.floats(path, table, "return"), parquet.floats(path, table, "length")
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
        episodes_sha256=record["episodes_sha256"],
        record=record,
    )
    _check_claims(record, evaluation)
    return evaluation


def _read_cells(path: Path, table: pa.Table, grade: np.ndarray, success: np.ndarray) -> tuple[Cells, np.ndarray]:
    """The episodes by cell, and which rows [episodes] are nominal: all, in files from before the protocol."""
    if "cell" in table.column_names:
        names, codes = parquet.texts(path, table, "cell")
    else:
        names, codes = [f"nominal/{g}" for g in GRADES], grade
    for name in names:
        if not CELL.fullmatch(name):
            raise Unusable(f"{path.name} has episodes of a cell {name[:60]!r}, which no protocol has")
    if missing := {f"nominal/{g}" for g in GRADES} - set(names):
        raise Unusable(f"{path.name} has no episodes of cell {sorted(missing)[0]}")
    own = np.array([GRADES.index(name[-2:]) if name.startswith("nominal/") else -1 for name in names])[codes]
    nominal = own >= 0
    if (own[nominal] != grade[nominal]).any():
        raise Unusable(f"{path.name} has a nominal episode of another grade than its cell")
    at = np.flatnonzero(np.bincount(grade[~nominal]))
    if len(at) > 1:
        raise Unusable(f"{path.name} has perturbed episodes of more than one grade")
    size = len(names)
    episodes = np.bincount(codes, minlength=size)
    env = parquet.floats(path, table, "env") if "env" in table.column_names else np.arange(len(codes))
    points = {}
    for factor in sorted({name.split("/")[1] for name in names if name.startswith("factor/")}):
        if (column := f"{FACTOR}{factor}") in table.column_names:
            here = np.isin(codes, [i for i, name in enumerate(names) if name.startswith(f"factor/{factor}/")])
            values, which = np.unique(parquet.floats(path, table, column)[here], return_inverse=True)
            if len(values) <= MAX_POINTS and np.isfinite(values).all():
                counted = _items(which, len(values), codes[here] * (env.max() + 1) + env[here], success[here])
                points[factor] = dict(zip(values.tolist(), counted, strict=True))
    violations = {}
    for column in (c for c in table.column_names if c.startswith(VIOLATION)):
        steps = parquet.floats(path, table, column)
        if not (steps >= 0).all():
            raise Unusable(f"{path.name} has an impossible number of steps in {column}")
        violations[column.removeprefix(VIOLATION)] = np.bincount(codes, steps, minlength=size)
    items = _items(codes, size, env, success)
    order = sorted(range(size), key=names.__getitem__)
    cells = Cells(
        names=tuple(names[i] for i in order),
        reference=GRADES[at[0]] if len(at) else "",
        successes=np.bincount(codes[success], minlength=size)[order],
        episodes=episodes[order],
        violations={limit: steps[order] for limit, steps in sorted(violations.items())},
        items=tuple(items[i] for i in order),
        points=points,
    )
    return cells, nominal


def _items(group: np.ndarray, groups: int, item: np.ndarray, success: np.ndarray) -> list[np.ndarray]:
    """Successes and episodes [items, 2] in each group of episodes, from what group and item [n] each episode is of."""
    _, item = np.unique(item, return_inverse=True)
    width = int(item.max(initial=0)) + 1
    keys, which = np.unique(group * width + item, return_inverse=True)
    counted = np.stack([np.bincount(which, success), np.bincount(which)], axis=1).astype(np.int32)
    return np.split(counted, np.searchsorted(keys // width, np.arange(1, groups)))


def _check_claims(record: Mapping[str, Any], found: Evaluation) -> None:
    for grade, k, n in zip(GRADES, found.successes, found.episodes, strict=True):
        claimed = record["success"][grade]
        if n != record["episodes"][grade]:
            raise Unusable(f"{record['episodes'][grade]} episodes are claimed at {grade}, there are {n}")
        if abs(k / n - claimed) > 1e-6:
            raise Unusable(f"success {claimed:.4g} is claimed at {grade}, the episodes give {k / n:.4g}")
