"""Episodes from an untrusted file: every row checked against the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from leaderboard.submissions.tables import read_table
from suite.protocol import Protocol, rows
from suite.runs.episode_table import FACTOR, VIOLATION, schema
from suite.runs.evaluation import FAILED
from suite.runs.schemas import MAX_RETURN as MAX_FAILED_RETURN
from suite.runs.schemas import NAME
from suite.untrusted import Unusable
from tasks.core.success import succeeded
from tasks.spec import TaskSpec

MAX_RETURN = 1e9  # of an episode in which nothing failed


def read_episodes(path: Path, spec: TaskSpec, protocol: Protocol) -> pa.Table:
    """The episodes in `path`. Raises `Unusable` unless they are those of the protocol, in its order and in range."""
    table = read_table(path)
    columns = schema(spec)
    for name, kind in zip(columns.names, columns.types, strict=True):
        if name not in table.column_names:
            raise Unusable(f'{path.name} has no column "{name}"')
        if table[name].type != kind or table[name].null_count:
            raise Unusable(f'"{name}" in {path.name} has another type than the suite writes, or empty places')
    if extra := set(table.column_names) - set(columns.names):
        raise Unusable(f"{path.name} has an unknown column {ascii(sorted(extra)[0])[:60]}")
    values = {name: table[name].to_numpy(zero_copy_only=False) for name in columns.names}
    _check_order(path.name, values, spec, protocol)
    _check_values(path.name, values, spec, protocol.episodes_per_env)
    return table


def cells_of(table: pa.Table) -> np.ndarray:
    """Name [n] of each episode's cell."""
    return table["cell"].to_numpy(zero_copy_only=False).astype(str)


def _check_order(file: str, values: Mapping[str, np.ndarray], spec: TaskSpec, protocol: Protocol) -> None:
    """Every episode of the protocol once: those that went badly cannot be left out, nor good ones repeated."""
    layout, per_env = rows(spec, protocol), protocol.episodes_per_env
    cells = np.repeat(layout.cell, per_env)
    if len(values["env"]) != len(cells):
        raise Unusable(f"{file} has {len(values['env'])} episodes, the protocol has {len(cells)}")
    row = np.arange(len(cells))
    expected = {
        "env": row // per_env,
        "episode": row % per_env,
        "grade": np.array([cell.grade for cell in layout.cells], dtype=object)[cells],
        "cell": np.array([cell.id for cell in layout.cells], dtype=object)[cells],
        "difficulty": np.repeat(layout.difficulty, per_env),
        "seed": np.full(len(cells), protocol.seed),
    }
    expected |= {
        f"{FACTOR}{factor.name}": np.repeat(layout.factors[:, k], per_env) for k, factor in enumerate(spec.factors)
    }
    for name, wanted in expected.items():
        same = values[name] == wanted if wanted.dtype != float else np.isclose(values[name], wanted, 1e-5, 1e-6)
        if len(wrong := (~same).nonzero()[0]):
            raise Unusable(f"{name} in row {wrong[0]} of {file} is not the protocol's")


def _check_values(file: str, values: Mapping[str, np.ndarray], spec: TaskSpec, per_env: int) -> None:
    termination = values["termination"]
    for text in set(termination):
        if not NAME.fullmatch(text):
            raise Unusable(f"{file} has the termination {ascii(text)[:60]}, which is no name")
    failed, crashed = np.isin(termination, FAILED), termination == "crashed"
    lost = crashed | ((termination == "cut") & (values["length"] == 0))
    known = np.isfinite(values["return"])
    large = np.abs(np.where(known, values["return"], 0.0)) > MAX_RETURN
    longest = np.where(termination == "cut", per_env * spec.max_episode_steps + 1, spec.max_episode_steps)
    decides = succeeded(values["success_once"], values["success_at_end"], spec.success_when)
    rules = {
        **{
            f"more steps over {limit} than it is long": (values[f"{VIOLATION}{limit}"] >= 0)
            & (values[f"{VIOLATION}{limit}"] <= values["length"])
            for limit in spec.safety
        },
        "a return that is not finite": known | lost,
        f"a return beyond {MAX_RETURN:g}": ~large | failed,
        f"a return beyond {MAX_FAILED_RETURN:g}": ~(np.abs(values["return"]) > MAX_FAILED_RETURN),
        "a length that no episode has": (values["length"] >= np.where(lost, 0, 1)) & (values["length"] <= longest),
        "a success that does not follow from the others": values["success"] == decides,
        "success at the end, but not once": ~values["success_at_end"] | values["success_once"],
        "a success in an episode that counts as failed": ~failed | ~(values["success_once"] | values["success_at_end"]),
    }
    for what, holds in rules.items():
        if len(wrong := (~holds).nonzero()[0]):
            raise Unusable(f"row {wrong[0]} of {file} has {what}")
