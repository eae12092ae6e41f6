"""The evaluation protocol: one table of cells, the same for every policy of a task.

A cell is a grade with a rule for the factors. The nominal cells are the grades themselves. All others are at
`REFERENCE_GRADE`, so that their success divided by that of its nominal cell says what a perturbation costs:

| cell | factors |
|---|---|
| `nominal/g1` to `nominal/g5` | all nominal |
| `factor/<name>/0` to `factor/<name>/4` | one factor at a fifth to all of its way to the ends of its evaluation range |
| `category/<category>` | all of a category, held-out ones apart, uniform in their evaluation ranges |
| `all/mixed` | all factors but the held-out ones, likewise |
| `held_out/mixed` | the held-out factors, likewise |

The other engine is not a cell: an engine is another process, so its nominal cells are an evaluation of their own.
Values depend on the protocol's seed and the cell alone, never on the training.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tasks.spec import GRADES, Factor, TaskSpec, difficulty_of

VERSION = 1
ProtocolName = Literal["nominal", "quick", "standard"]
REFERENCE_GRADE = "g2"
MAGNITUDES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Share of the way from the nominal value to the ends of the evaluation range."""

EPISODES = {"nominal": (64, 32, 2), "quick": (256, 32, 2), "standard": (1024, 128, 4)}
"""Episodes of each nominal cell, of each other cell, and of them per env. `nominal` has the nominal cells only; the
other two have all cells, and differ in these numbers alone."""


@dataclass(frozen=True)
class Cell:
    """One condition: a grade, and which factors move. `magnitude` is None where they are drawn from their ranges."""

    id: str
    grade: str
    factors: tuple[str, ...] = ()
    magnitude: float | None = None


@dataclass(frozen=True)
class Protocol:
    """Which episodes: of every nominal cell `episodes_per_grade`, of every other one `episodes_per_cell`.

    Of each env the first `episodes_per_env` count.
    """

    task: str
    engine: str
    device: str
    protocol: ProtocolName
    episodes_per_grade: int
    episodes_per_cell: int
    episodes_per_env: int
    seed: int


@dataclass(frozen=True)
class Rows:
    """What each env of an evaluation does.

    `cell` [N] is an index into `cells`; `factors` [N, F] as in the spec. `identity` [N] int64 depends on the cell and
    the env's number in it alone, so that a cell has the same episodes in every protocol: `TensorEnv.identify`.
    """

    cells: tuple[Cell, ...]
    cell: np.ndarray
    difficulty: np.ndarray
    factors: np.ndarray
    identity: np.ndarray


def cells(spec: TaskSpec, protocol: str) -> tuple[Cell, ...]:
    """The cells of `protocol` for a task, in their order."""
    table = [Cell(f"nominal/{grade}", grade) for grade in GRADES]
    if protocol == "nominal" or not spec.factors:
        return tuple(table)
    for factor in spec.factors:
        for k, magnitude in enumerate(MAGNITUDES):
            table.append(Cell(f"factor/{factor.name}/{k}", REFERENCE_GRADE, (factor.name,), magnitude))
    known = [factor for factor in spec.factors if not factor.held_out]
    for category in dict.fromkeys(factor.category for factor in known):
        names = tuple(factor.name for factor in known if factor.category == category)
        table.append(Cell(f"category/{category}", REFERENCE_GRADE, names))
    table.append(Cell("all/mixed", REFERENCE_GRADE, tuple(factor.name for factor in known)))
    if held_out := tuple(factor.name for factor in spec.factors if factor.held_out):
        table.append(Cell("held_out/mixed", REFERENCE_GRADE, held_out))
    return tuple(table)


def identity(spec: TaskSpec, protocol: Protocol) -> dict[str, Any]:
    """Name, version and hash of the table: two evaluations with the same one can be compared.

    The hash covers the cells, the factors with their evaluation ranges, the grades, the numbers of episodes and the
    seed; not the engine and the device.
    """
    numbers = {key: value for key, value in asdict(protocol).items() if key not in ("engine", "device")}
    table = {
        "version": VERSION,
        **numbers,
        "cells": [asdict(cell) for cell in cells(spec, protocol.protocol)],
        "factors": [[f.name, f.nominal, *f.evaluation, _hashed(f.effect), f.on] for f in spec.factors],
        "grades": {name: param.values for name, param in spec.grades.items()},
    }
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()
    return {"name": protocol.protocol, "version": VERSION, "sha256": digest}


_MODULES_OF_0_1 = {"physics": "tasks.effects", "signal": "tasks.signals"}


def _hashed(effect: str) -> str:
    """What the hash of suite version 0.1.0 has for an effect: the module and class that it had then."""
    group, dot, name = effect.partition(".")
    if not dot or group not in _MODULES_OF_0_1:
        return effect
    return f"{_MODULES_OF_0_1[group]}:{name.title().replace('_', '')}"


def rows(spec: TaskSpec, protocol: Protocol) -> Rows:
    """What each env does, cell after cell. The same protocol gives the same rows everywhere."""
    table = cells(spec, protocol.protocol)
    counts = [
        (protocol.episodes_per_cell if cell.factors else protocol.episodes_per_grade) // protocol.episodes_per_env
        for cell in table
    ]
    values = [_values(spec, cell, count, protocol.seed) for cell, count in zip(table, counts, strict=True)]
    index = np.repeat(np.arange(len(table)), counts)
    difficulty = np.array([difficulty_of(cell.grade) for cell in table])
    numbers = [_digest(cell).astype(np.int64) + np.arange(count) for cell, count in zip(table, counts, strict=True)]
    return Rows(table, index, difficulty[index], np.concatenate(values), np.concatenate(numbers))


def _digest(cell: Cell) -> np.uint64:
    return np.frombuffer(hashlib.sha256(cell.id.encode()).digest()[:8], dtype=">u8").astype(np.uint64)[0]


def _values(spec: TaskSpec, cell: Cell, count: int, seed: int) -> np.ndarray:
    """Factors [count, F] of a cell's envs."""
    rng = np.random.default_rng((seed, int(_digest(cell))))
    values = np.tile([factor.nominal for factor in spec.factors], (count, 1))
    for column, factor in enumerate(spec.factors):
        if factor.name not in cell.factors:
            continue
        if cell.magnitude is None:
            values[:, column] = rng.uniform(*factor.evaluation, count)
        else:
            values[:, column] = np.resize(at(factor, cell.magnitude), count)
    return values


def at(factor: Factor, magnitude: float) -> list[float]:
    """The values of a factor at `magnitude` in (0, 1]: one below the nominal value and one above, where there are.

    Raises `ValueError` for a magnitude outside that range.
    """
    if not 0.0 < magnitude <= 1.0:
        raise ValueError(f"magnitude {magnitude} of factor {factor.name}; it has to be above 0 and at most 1")
    ends = [end for end in factor.evaluation if end != factor.nominal]
    return [factor.nominal + magnitude * (end - factor.nominal) for end in ends]
