"""The learning curve and the curriculum of a training, as tables of bounded length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from curricula.episodes import Episodes
from curricula.teacher import BINS, Teacher
from suite.runs.rundir import RunDir, atomic

MAX_ROWS = 2000
CURRICULUM_ROWS = 200
QUANTILES = (0.05, 0.95)  # of the parameters of episodes: the range that most of them were in

Row = dict[str, float]


class TableError(ValueError):
    """A table from which a training cannot continue; the message says why."""


class Progress:
    """One row per iteration, and per 2, 4, 8, ... iterations once there would be more than `MAX_ROWS`."""

    def __init__(self, run: RunDir, env_steps: int) -> None:
        """Continue the run's table where it stood at `env_steps`; rows after that are trained again."""
        self._file = run.progress
        self.rows: list[Row] = _read(self._file, env_steps)
        self._pending: list[Row] = []
        self._stride = 1

    def total(self, column: str) -> float:
        """A total that only grows, such as `wall_time_s`, at the last row; NaN if that did not have it."""
        return self.rows[-1].get(column, math.nan) if self.rows else 0.0

    def add(self, row: Row) -> Row | None:
        """Take in an iteration; returns the row of the table that it completed, if it did."""
        self._pending.append(row)
        if len(self._pending) < self._stride:
            return None
        self._flush()
        if len(self.rows) >= MAX_ROWS:
            self.rows = [pool(self.rows[i : i + 2]) for i in range(0, len(self.rows), 2)]
            self._stride *= 2
        return self.rows[-1]

    def save(self) -> None:
        """Write the table, iterations of a row that is not complete included."""
        self._flush()
        _write(self._file, self.rows)

    def _flush(self) -> None:
        if self._pending:
            self.rows.append(pool(self._pending))
            self._pending = []


class Curriculum:
    """About `CURRICULUM_ROWS` rows of what a teacher did since the last; columns in docs/curricula.md."""

    def __init__(self, run: RunDir, env_steps: int, total_env_steps: int, teacher: Teacher) -> None:
        """Continue the run's table where it stood at `env_steps`."""
        self._file, self._teacher = run.curriculum, teacher
        self.rows = _read(self._file, env_steps)
        self._every = total_env_steps / CURRICULUM_ROWS
        self._last = env_steps
        self._episodes: list[Episodes] = []

    def add(self, episodes: Episodes) -> None:
        """Take in the episodes of an iteration."""
        if len(episodes.difficulty):
            self._episodes.append(episodes)
        if episodes.env_steps - self._last >= self._every:
            self._flush()

    def save(self) -> None:
        """Write the table, with a row for what was taken in since the last."""
        self._flush()
        _write(self._file, self.rows)

    def _flush(self) -> None:
        if not self._episodes:
            return
        difficulty = torch.cat([e.difficulty for e in self._episodes]).double().cpu()
        space = self._teacher.space
        success = torch.cat([e.success(space.success_when) for e in self._episodes]).double().cpu()
        points = torch.cat([space.points(e) for e in self._episodes])
        ends = points.quantile(torch.tensor(QUANTILES, device=points.device), dim=0)
        low, high = space.values(ends).tolist()
        bins = (difficulty * BINS).long().clamp(0, BINS - 1)
        count = torch.zeros(BINS, dtype=torch.double).index_add_(0, bins, torch.ones_like(success))
        rate = torch.zeros(BINS, dtype=torch.double).index_add_(0, bins, success) / count
        self._last = self._episodes[-1].env_steps
        row: Row = {"env_steps": self._last, "difficulty_mean": difficulty.mean().item()}
        started = self._teacher.take_started()
        for name, values in (("success", rate.tolist()), ("episodes", count.tolist()), ("started", started)):
            row |= {f"{name}_bin_{i}": value for i, value in enumerate(values)}
        row |= {f"low.{axis}": value for axis, value in zip(space.axes, low, strict=True)}
        row |= {f"high.{axis}": value for axis, value in zip(space.axes, high, strict=True)}
        self.rows.append(row | {f"teacher.{key}": value for key, value in self._teacher.report().items()})
        self._episodes = []


class Records:
    """A training's tables: `Progress` and `Curriculum`."""

    def __init__(self, run: RunDir, env_steps: int, total_env_steps: int, teacher: Teacher) -> None:
        """Continue the run's tables where they stood at `env_steps`."""
        self.progress = Progress(run, env_steps)
        self._curriculum = Curriculum(run, env_steps, total_env_steps, teacher)

    def add(self, row: Row, episodes: Episodes) -> Row | None:
        """Take in an iteration, its row and its episodes; returns the row of the table that it completed, if any."""
        self._curriculum.add(episodes)
        return self.progress.add(row)

    def save(self) -> None:
        """Write both."""
        self.progress.save()
        self._curriculum.save()


def pool(rows: Sequence[Row]) -> Row:
    """One row for several: counters of the last, sums of events, means weighted by episodes, the rest averaged."""
    if len(rows) == 1:
        return dict(rows[0])
    pooled: Row = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key, math.nan) for row in rows]
        if key in ("env_steps", "wall_time_s", "teacher_time_s", "energy_j"):
            pooled[key] = values[-1]
        elif key in ("episodes", "overflows", "diverged"):
            pooled[key] = sum(values)
        else:
            weights = [row["episodes"] for row in rows] if key.endswith("_mean") else [1.0] * len(rows)
            known = [(v, w) for v, w in zip(values, weights, strict=True) if math.isfinite(v)]
            total = sum(w for _, w in known)
            pooled[key] = sum(v * w for v, w in known) / total if total else math.nan
    return pooled


def check(path: Path, env_steps: int) -> None:
    """Raise `TableError` unless a table is whole and goes up to `env_steps` at least."""
    rows = rows_of(path)
    if env_steps and (not rows or rows[-1]["env_steps"] < env_steps):
        raise TableError(f"{path.name} ends before the checkpoint, at {env_steps} env steps")


def rows_of(path: Path, schema: pa.Schema | None = None) -> list[dict[str, Any]]:
    """All rows of a training's table, in the order of `env_steps`.

    Raises:
        TableError: if there is no table, or one that is damaged or has not the columns of `schema`.
        OSError: from the disk, which may be better the next time.
    """
    if not path.is_file():
        raise TableError(f"{path.name} is missing")
    content = path.read_bytes()
    try:
        table = pq.read_table(pa.BufferReader(content))
        rows = table.to_pylist()
        steps = [row["env_steps"] for row in rows]
        numbers = all(pa.types.is_floating(field.type) for field in table.schema if field.name != "env_steps")
        whole = steps == sorted(steps) and (numbers if schema is None else table.schema.equals(schema))
    except Exception:  # pyarrow has many for what is damaged
        whole = False
    if not whole:
        raise TableError(f"{path.name} is damaged")
    return rows


def _read(path: Path, env_steps: int) -> list[Row]:
    if not env_steps:  # the training starts afresh, whatever an interrupted one has left
        return []
    return [
        {key: math.nan if value is None else value for key, value in row.items()}
        for row in rows_of(path)
        if row["env_steps"] <= env_steps
    ]


def _write(path: Path, rows: Sequence[Row]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    kinds = {key: pa.int64() if key == "env_steps" else pa.float64() for key in columns}
    table = pa.table({key: pa.array([row.get(key, math.nan) for row in rows], kinds[key]) for key in columns})
    atomic(path, lambda temporary: pq.write_table(table, temporary))
