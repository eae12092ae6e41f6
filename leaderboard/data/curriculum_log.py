"""What a teacher did along a run's training: read from curriculum.parquet, and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from leaderboard.data import parquet
from suite.untrusted import Unusable

BINS = 10  # of difficulty, as the suite counts
STRETCHES = 40  # of a training, at most: keeps the page small
WIDTH, HEIGHT = 600, 120


@dataclass(frozen=True)
class Course:
    """A training in stretches of about equally many env steps.

    Attributes:
        started: [S, BINS] share of the episodes that the teacher started in each tenth of difficulty.
        success: [S, BINS] of those that finished there, NaN where none did.
        ranges: of every moved parameter, in its unit, where nine in ten episodes were: lowest and highest [S].
    """

    started: np.ndarray
    success: np.ndarray
    ranges: Mapping[str, tuple[np.ndarray, np.ndarray]]


def read(path: Path, result: Mapping[str, Any]) -> Course | None:
    """What curriculum.parquet in `path` says, of the run `result`; None without rows. Raises `Unusable`."""
    kinds = ("started_bin_", "success_bin_", "episodes_bin_")
    table = parquet.read(path, result, "curriculum_sha256", ("env_steps",), (*kinds, "low.", "high."))
    values = {name: parquet.floats(path, table, name) for name in table.column_names}
    names = [name.removeprefix("low.") for name in values if name.startswith("low.")]
    wanted = [f"{kind}{i}" for kind in kinds for i in range(BINS)] + [f"high.{name}" for name in names]
    if missing := [name for name in wanted if name not in values]:
        raise Unusable(f'{path.name} has no column "{missing[0]}"')
    if not table.num_rows:
        return None
    started, success, episodes = (np.stack([values[f"{kind}{i}"] for i in range(BINS)], axis=1) for kind in kinds)
    known = [started, episodes, *(values[f"{end}.{name}"] for name in names for end in ("low", "high"))]
    if not all(np.isfinite(x).all() for x in known) or (started < 0).any() or (episodes < 0).any():
        raise Unusable(f"{path.name} has a number out of range")
    rows = np.array_split(np.arange(table.num_rows), min(STRETCHES, table.num_rows))
    solved = np.nan_to_num(success) * episodes
    started, solved, episodes = (np.stack([x[part].sum(axis=0) for part in rows]) for x in (started, solved, episodes))
    with np.errstate(invalid="ignore"):
        rate = np.clip(solved / episodes, 0.0, 1.0)

    def means(column: str) -> np.ndarray:
        return np.array([values[column][part].mean() for part in rows])

    ranges = {name: (means(f"low.{name}"), means(f"high.{name}")) for name in names}
    return Course(started / np.maximum(started.sum(axis=1, keepdims=True), 1.0), rate, ranges)


def drawings(course: Course) -> list[tuple[str, str, Markup]]:
    """Title, explanation and SVG of each picture, over env steps; without a plotting library, as there may be many."""
    maps = [
        ("Where episodes started", "difficulty upwards; the darker, the more of them", course.started),
        ("How they ended", "success by difficulty; the darker, the more succeeded", course.success),
    ]
    drawn = [(title, text, _map(values, title)) for title, text, values in maps]
    moved = [(name, low, high) for name, (low, high) in course.ranges.items() if high.max() > low.min()]
    return drawn + [(name, "the range of nine in ten episodes", _band(name, low, high)) for name, low, high in moved]


def _map(values: np.ndarray, label: str) -> Markup:
    across, up = WIDTH / len(values), HEIGHT / BINS
    cell = Markup('<rect x="{:.1f}" y="{:.0f}" width="{:.1f}" height="{:.0f}" opacity="{:.2f}"/>')
    cells = [
        cell.format(i * across, HEIGHT - (k + 1) * up, across + 0.3, up, value)
        for i, column in enumerate(values.tolist())
        for k, value in enumerate(column)
        if value > 0.005  # nor where it is not known
    ]
    return _svg(label, "1", "0", Markup("").join(cells))


def _band(name: str, low: np.ndarray, high: np.ndarray) -> Markup:
    bottom, top = low.min(), high.max()
    x = (np.arange(len(low)) + 0.5) * WIDTH / len(low)
    there, back = ((HEIGHT * (top - y) / (top - bottom)).tolist() for y in (high, low))
    corners = [*zip(x.tolist(), there, strict=True), *reversed(list(zip(x.tolist(), back, strict=True)))]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return _svg(name, f"{top:.3g}", f"{bottom:.3g}", Markup('<polygon points="{}"/>').format(points))


def _svg(label: str, top: str, bottom: str, inside: Markup) -> Markup:
    return Markup(
        '<svg class="sparkline" viewBox="0 -4 650 128" role="img" aria-label="{}">'
        '<path d="M0 0H600M0 120H600" class="rule"/>'
        '<text x="606" y="4">{}</text><text x="606" y="124">{}</text>{}</svg>'
    ).format(label, top, bottom, inside)
