"""Which figures the site has: the best entries of each budget, in colours that stay theirs from figure to figure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from typing import Any

from markupsafe import Markup

from leaderboard.board.board import Board
from leaderboard.board.perturbed import RobustRow
from leaderboard.board.ranking import RankRow, improvement
from leaderboard.board.rows import is_reference
from leaderboard.data.runs import Entry
from leaderboard.site import figures
from suite.errors import printable

SHOWN = 8  # entries in a figure: as many as there are colours, and no more than can be told apart
VARIANT = ("curriculum", "randomization", "engine", "submitter", "packages")
LABEL = 40  # characters


@dataclass(frozen=True)
class Drawing:
    """A figure with what it is called. `legend` has entry, colour number and label of each line."""

    title: str
    budget: str
    caption: str
    alt: str
    svg: Markup
    legend: tuple[tuple[Entry, int, str], ...] = ()
    wide: bool = False


@dataclass(frozen=True)
class Drawn:
    """The figures by where they stand; `curves` by task."""

    overall: list[Drawing]
    grades: list[Drawing]
    curves: dict[str, list[Drawing]]


def _best(board: Board) -> dict[str, list[RankRow]]:
    """The trained entries at the top of each budget."""
    return {
        budget: [row for row in rows if not all(is_reference(r) for r in row.rows)][:SHOWN]
        for budget, rows in groupby(board.ranking, lambda row: row.entry.budget)
    }


def colours(board: Board) -> dict[Entry, int]:
    """The number of each entry's colour, the same in every figure of the site.

    What differs in nothing but the budget has one colour: the figures of two budgets stand side by side.
    """
    numbers: dict[Entry, int] = {}
    order = [row.entry for rows in _best(board).values() for row in rows] + [row.entry for row in board.ranking]
    for entry in order:
        numbers.setdefault(replace(entry, budget=""), len(numbers))
    return {entry: numbers[replace(entry, budget="")] for entry in order}


def draw(board: Board, series: Mapping[Entry, int]) -> Drawn:
    """All figures but the panels of `panels`, in the colours of `colours`."""
    best = _best(board)
    best_of_all = {row.entry for rows in best.values() for row in rows}
    overall: list[Drawing] = []
    by_grade: list[Drawing] = []
    curves: dict[str, list[Drawing]] = {}
    for budget, rows in best.items():
        if not rows:
            continue
        overall += _overall(budget, rows, series, f"{len(overall)}")
        title, caption = "Success by grade", "mean over tasks; percent"
        by_grade.append(_drawing(figures.grades, title, caption, budget, rows, series, f"grades-{len(by_grade)}"))
    for task in board.tasks:
        shown = [r for r in board.results if r.task == task and r.entry in best_of_all and figures.has_curve(r)]
        curves[task] = [
            _drawing(
                figures.learning_curves,
                "Learning curves",
                "training success, percent",
                budget,
                list(rows),
                series,
                f"curve-{budget}",
            )
            for budget, rows in groupby(shown, lambda r: r.entry.budget)
        ]
    return Drawn(overall, by_grade, curves)


def panels(rows: Sequence[RobustRow], spec: Any, series: Mapping[Entry, int]) -> list[Drawing]:
    """Success against magnitude on one task, a figure per budget; `spec` declares the training ranges, if known."""
    drawn: list[Drawing] = []
    ranges = {f.name: tuple(f.ranges.values()) for f in getattr(spec, "factors", ()) if not f.held_out}
    shades = {name: (min(low for low, _ in r), max(high for _, high in r)) for name, r in ranges.items()}
    for budget, group in groupby(rows, lambda r: r.row.entry.budget):
        best = list(group)[:SHOWN]
        if not any(f.values for r in best for f in r.factors):
            continue
        numbers = [series[r.row.entry] for r in best]
        labels = entry_labels([r.row.entry for r in best])
        drawn.append(
            Drawing(
                title="Success against the factor's value",
                budget=budget,
                caption="percent",
                alt=f"Success against the value of each factor, budget {budget}; the tables of the robustness page "
                "and of the runs have the numbers",
                svg=Markup(figures.magnitudes(best, numbers, shades, f"magnitudes-{budget}")),
                legend=tuple((r.row.entry, i, label) for r, i, label in zip(best, numbers, labels, strict=True)),
                wide=True,
            )
        )
    return drawn


def _overall(budget: str, rows: list[RankRow], series: Mapping[Entry, int], number: str) -> list[Drawing]:
    made = [
        _drawing(figures.performance_profile, "Performance profile", "percent of runs and grades above a success",
                 budget, rows, series, f"profile-{number}")
    ]  # fmt: skip
    trained = [r for r in rows if any(run.curve for run in r.runs)]
    if trained:
        made.append(
            _drawing(figures.sample_efficiency, "Sample efficiency", "mean training success, percent",
                     budget, trained, series, f"efficiency-{number}")
        )  # fmt: skip
    if not all(math.isnan(improvement(a, b)) for a, b in combinations(rows, 2)):  # on some task both are
        labels = entry_labels([row.entry for row in rows])
        made.append(
            Drawing(
                title="Probability of improvement",
                budget=budget,
                caption="that a run of the row beats one of the column, percent",
                alt=f"Matrix: how probably one entry improves on another, budget {budget}: {', '.join(labels)}",
                svg=Markup(
                    figures.improvement_matrix(rows, [_short(label, 16) for label in labels], f"improvement-{number}")
                ),
            )
        )
    return made


def _drawing(
    function: Callable[..., str],
    title: str,
    caption: str,
    budget: str,
    rows: Any,
    series: Mapping[Entry, int],
    name: str,
) -> Drawing:
    numbers = [series[row.entry] for row in rows]
    labels = entry_labels([row.entry for row in rows])
    return Drawing(
        title=title,
        budget=budget,
        caption=caption,
        alt=f"{title}, budget {budget}: {', '.join(labels)}",
        svg=Markup(function(rows, numbers, name)),
        legend=tuple((row.entry, n, label) for row, n, label in zip(rows, numbers, labels, strict=True)),
    )


def entry_labels(entries: Sequence[Entry]) -> list[str]:
    """The algorithm, and of the rest what these entries differ in; short enough to stand beside a figure."""
    differ = [name for name in VARIANT if len({getattr(e, name) for e in entries}) > 1]
    labels = [" ".join(filter(None, (e.algo, *(getattr(e, name) for name in differ)))) for e in entries]
    settings = [json.loads(e.overrides).items() for e in entries]
    chosen = [", ".join(f"{key.split('.')[-1]}={value}" for key, value in s) for s in settings]
    return [_short(f"{label} {text}".strip()) for label, text in zip(labels, chosen, strict=True)]


def _short(text: str, length: int = LABEL) -> str:
    text = printable(text)  # what no font has would stop matplotlib
    return text if len(text) <= length else text[: length - 1] + "…"
