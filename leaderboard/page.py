"""The board as one HTML file that needs no other: styles, script and figures are in it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from leaderboard import figures
from leaderboard.board import SEEDS_TO_RANK, Board, Estimate, TaskRow, budget_order, is_reference
from leaderboard.runs import Entry, Evaluation, Run
from leaderboard.schema import GRADES
from leaderboard.statistics import wilson_interval

MAX_DEPTH = 4  # of provenance shown as lists; what lies deeper is shown as JSON


@dataclass(frozen=True)
class Figure:
    """Learning curves of one task at one budget. `lines` pairs each row with its colour number."""

    name: str
    task: str
    budget: str
    lines: tuple[tuple[TaskRow, int], ...]
    detail: bool  # the lines differ in more than the algorithm
    svg: Markup


def render(board: Board) -> str:
    """The page. Text from run directories is escaped wherever it appears."""
    environment = Environment(
        loader=PackageLoader("leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, interval=interval, steps=steps, duration=duration, anchor=anchor, scalar=scalar
    )
    source = environment.loader.get_source
    script = source(environment, "page.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("index.html").render(
        board=board,
        grades=GRADES,
        seeds_to_rank=SEEDS_TO_RANK,
        figures=_figures(board),
        ranking=_groups(board.ranking, lambda row: row.entry.budget),
        results=_groups(board.results, lambda row: row.task),
        engines=_groups(board.engines, lambda row: row.own.task),
        runs=_groups(board.runs, lambda run: run.task),
        algos=sorted({run.entry.algo for run in board.runs}),
        budgets=sorted({run.entry.budget for run in board.runs}, key=budget_order),
        episodes=sum(int(e.episodes.sum()) for run in board.runs for e in (run.evaluation, *run.others)),
        by_grade=by_grade,
        grade_rows=grade_rows,
        overrides=lambda entry: json.loads(entry.overrides),
        is_reference=is_reference,
        mean=lambda values: float(np.mean(list(values))),
        max_depth=MAX_DEPTH,
        css=Markup(source(environment, "style.css")[0]),
        js=Markup(script),
        js_digest=digest,
    )


def by_grade(rows: Sequence[TaskRow]) -> list[float]:
    """Success by grade, mean over the tasks of `rows`."""
    return [float(np.mean([row.cells[i].success.value for row in rows])) for i in range(len(GRADES))]


def grade_rows(e: Evaluation) -> list[tuple[str, Estimate, int, int, float]]:
    """One evaluation of one run: grade, success with its Wilson interval, successes, episodes, mean return."""
    low, high = wilson_interval(e.successes, e.episodes)
    return [
        (g, Estimate(k / n, lo, hi), int(k), int(n), float(r))
        for g, k, n, lo, hi, r in zip(GRADES, e.successes, e.episodes, low, high, e.returns, strict=True)
    ]


def percent(value: float) -> str:
    """`98.4`; no digits after 0 and 100 that are exact."""
    return f"{100 * value:.0f}" if value in (0.0, 1.0) else f"{100 * value:.1f}"


def interval(estimate: Estimate) -> str:
    """`94.6–99.1`, in percent."""
    return f"{percent(round(estimate.low, 4))}–{percent(round(estimate.high, 4))}"


def steps(value: float) -> str:
    """`1.5 M` env steps."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}\u202f{suffix}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def anchor(run: Run) -> str:
    """The id of a run's details, from its path: stable, unique, and safe in a URL."""
    return f"run-{hashlib.sha256(run.path.encode()).hexdigest()[:12]}"


def scalar(value: Any) -> str:
    """A value of the provenance in one line; nothing and an empty list are `none`."""
    if value in (None, [], {}):
        return "none"
    if isinstance(value, list):
        return ", ".join(scalar(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _groups(rows: Iterable[Any], key: Any) -> list[tuple[str, list[Any]]]:
    return [(name, list(group)) for name, group in groupby(rows, key)]


def _figures(board: Board) -> list[Figure]:
    drawn = [row for row in board.results if figures.has_curve(row)]
    numbers = {name: i for i, name in enumerate(sorted({_without_budget(row.entry) for row in drawn}))}
    made = []
    for (task, budget), group in groupby(drawn, lambda row: (row.task, row.entry.budget)):
        rows = list(group)
        series = [numbers[_without_budget(row.entry)] for row in rows]
        name = f"curve-{len(made)}"
        svg = Markup(figures.learning_curves(rows, series, name))
        detail = len({_without_budget(row.entry)[1:4] for row in rows}) > 1
        made.append(Figure(name, task, budget, tuple(zip(rows, series, strict=True)), detail, svg))
    return made


def _without_budget(entry: Entry) -> tuple[str, ...]:
    return entry.algo, entry.curriculum, entry.randomization, entry.engine, entry.overrides
