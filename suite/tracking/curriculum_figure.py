"""A picture of what a teacher did, from the rows of a run's curriculum.parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Over env steps: where episodes started, how they ended, and the range that most of them were in, by parameter.

    `rows` has at least one row, with the columns that docs/curricula.md lists.
    """
    from matplotlib.figure import Figure

    axes_names = [key.removeprefix("low.") for key in rows[0] if key.startswith("low.")]
    steps = np.array([0.0, *(row["env_steps"] for row in rows)]) / 1e6
    figure = Figure(figsize=(7, 4.4 + 1.3 * len(axes_names)), layout="constrained")
    panels = figure.subplots(2 + len(axes_names), 1, sharex=True, height_ratios=[2, 2, *[1.3] * len(axes_names)])
    started = _bins(rows, "started")
    maps = {
        "share of episodes started": started / np.maximum(started.sum(axis=1, keepdims=True), 1.0),
        "success": _bins(rows, "success"),
    }
    for panel, (label, values) in zip(panels, maps.items(), strict=False):
        edges = np.linspace(0, 1, values.shape[1] + 1)
        mesh = panel.pcolormesh(steps, edges, values.T, vmin=0, vmax=None if label != "success" else 1)
        panel.set(ylabel="difficulty")
        figure.colorbar(mesh, ax=panel, label=label)
    for panel, name in zip(panels[2:], axes_names, strict=True):
        low, high = ([row[f"{end}.{name}"] for row in rows] for end in ("low", "high"))
        panel.fill_between(steps[1:], low, high, alpha=0.4, step="pre")
        panel.set(ylabel=name)
    panels[-1].set(xlabel="env steps [M]")
    return figure


def _bins(rows: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    """The columns `<name>_bin_<i>` [rows, bins]."""
    columns = [key for key in rows[0] if key.startswith(f"{name}_bin_")]
    return np.array([[row[key] for key in columns] for row in rows], float)
