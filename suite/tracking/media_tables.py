"""Tables and figures of a complete run, as W&B shows them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.runs.rundir import RunDir

if TYPE_CHECKING:
    from PIL.Image import Image


def cells(episodes: Path) -> dict[str, Any]:
    """`columns` and `data` of a table with a row per cell of the evaluation; intervals are Wilson's, at 95 %."""
    import pyarrow.parquet as pq

    from suite.report.wilson import wilson_interval

    rows = pq.read_table(episodes).to_pylist()
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["grade"], row.get("cell", row["grade"])), []).append(row)
    data = []
    for (grade, cell), group in groups.items():
        k, n = sum(row["success"] for row in group), len(group)
        low, high = (end.item() for end in wilson_interval(np.array(k), np.array(n)))
        returns = [row["return"] for row in group if math.isfinite(row["return"])]
        mean = sum(returns) / len(returns) if returns else None
        data.append([cell, grade, k / n, low, high, mean, n])
    return {"columns": ["cell", "grade", "success", "low", "high", "return", "episodes"], "data": data}


def progress(file: Path) -> list[dict[str, float]]:
    """Rows of progress.parquet; none if there is no such file yet."""
    import pyarrow.parquet as pq

    rows = pq.read_table(file).to_pylist() if file.exists() else []
    return [{key: value for key, value in row.items() if value is not None} for row in rows]


def curriculum(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of curriculum.parquet, to be logged by env steps under `curriculum/`."""
    import pyarrow.parquet as pq

    if not file.exists():
        return
    for row in pq.read_table(file).to_pylist():
        steps = row.pop("env_steps")
        known = {key: value for key, value in row.items() if isinstance(value, int | float) and math.isfinite(value)}
        yield {"env_steps": steps} | {f"curriculum/{key}": value for key, value in known.items()}


def images(result: Mapping[str, Any], curve: Sequence[Mapping[str, float]], run: RunDir) -> dict[str, Image]:
    """Pictures of the run: success by grade, the learning curve, what the teacher did."""
    import pyarrow.parquet as pq
    from matplotlib.figure import Figure
    from PIL import Image

    from suite.tracking import curriculum_figure

    bars = Figure(figsize=(4, 3), layout="constrained")
    axes = bars.add_subplot(ylim=(0, 1), xlabel="grade", ylabel="success")
    axes.bar(list(result["success"]), list(result["success"].values()))
    figures = {"success": bars}
    if curve:
        lines = Figure(figsize=(4, 3), layout="constrained")
        axes = lines.add_subplot(ylim=(0, 1), xlabel="env steps", ylabel="training success")
        known = [row for row in curve if math.isfinite(row["success_mean"])]
        axes.plot([row["env_steps"] for row in known], [row["success_mean"] for row in known])
        figures["learning_curve"] = lines
    if run.curriculum.exists():
        figures["curriculum"] = curriculum_figure.draw(pq.read_table(run.curriculum).to_pylist())
    drawn = {}
    for name, figure in figures.items():
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=150)
        drawn[name] = Image.open(file)
    return drawn
