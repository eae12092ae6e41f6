"""The board as a static site: pages that need nothing but each other, from a disk or any web server."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

import tasks as declared
from leaderboard.board import curriculum_comparison, perturbed
from leaderboard.board.board import Board, make
from leaderboard.board.perturbed import FactorRow, RobustRow
from leaderboard.board.ranking import SEEDS_TO_RANK, RankRow, budget_order
from leaderboard.board.rows import TaskRow
from leaderboard.data import parallel
from leaderboard.data.runs import Entry, Run, Skipped
from leaderboard.site import drawings, export
from leaderboard.site.drawings import SHOWN
from leaderboard.site.render import render, run_page, source
from suite.errors import first_line, printable
from tasks.spec import GRADES

ASSETS = ("style.css", "page.js")
PARALLEL_FROM = 200  # runs


@dataclass(frozen=True)
class Cost:
    """What the runs of an entry took, on average; `hours` is their sum. Energy is NaN where a run has none."""

    row: RankRow
    env_steps: float
    wall_time_s: float
    rate: float  # env steps per second
    evaluation_time_s: float
    runs: int
    hours: float
    energy_j: float
    devices: tuple[str, ...]


def run_pages(board: Board, submissions: str = "") -> tuple[Board, dict[str, str]]:
    """Path and text of each run's page, and the board without the runs that have none since they cannot be shown."""
    made = list(parallel.each(_try_run_page, [(run, submissions) for run in board.runs], PARALLEL_FROM))
    pages = {path: text for path, text, why in made if not why}
    if bad := {run.key: why for run, (_, _, why) in zip(board.runs, made, strict=True) if why}:
        left_out = [Skipped(run.path, f"it cannot be shown: {bad[run.key]}") for run in board.runs if run.key in bad]
        board = make([run for run in board.runs if run.key not in bad], [*board.skipped, *left_out])
    return board, pages


def _try_run_page(run: Run, submissions: str) -> tuple[str, str, str]:
    try:
        return *run_page(run, submissions), ""
    except Exception as error:
        return "", "", _why(error)


def _why(error: Exception) -> str:
    return printable(first_line(error))[:300]


def files(
    board: Board, runs: Mapping[str, str], submissions: str = "", problems: list[str] | None = None
) -> Iterator[tuple[str, str | bytes]]:
    """Path and content of each file of the site; `index.html` is the last. Text from runs is escaped wherever it is.

    `runs` are the pages of the runs. `submissions` is the address of the submission service, which every page links to,
    if there is one. A page that cannot be made says so and is named in `problems`; the others are as they would be.
    """
    problems = [] if problems is None else problems
    for name in ASSETS:
        yield f"assets/{name}", source(name)
    yield from export.files(board)
    series = drawings.colours(board)
    try:
        drawn = drawings.draw(board, series)
    except Exception as error:
        drawn = drawings.Drawn([], [], {})
        problems.append(f"no figures: {_why(error)}")
    try:
        robust = perturbed.robust_rows(board.results, board.engines)
    except Exception as error:
        robust = []
        problems.append(f"nothing on robustness: {_why(error)}")
    common = {"board": board, "newest": board.newest, "grades": GRADES, "shown": SHOWN, "choices": _choices(board)}
    common |= {"seeds_to_rank": SEEDS_TO_RANK, "submissions": submissions}
    ranking = _groups(board.ranking, lambda row: row.entry.budget)

    def page(name: str, template: str, root: str, here: str, context: Callable[[], dict[str, Any]]) -> tuple[str, str]:
        where = {"root": root, "here": here, **common}
        try:
            return name, render(template, **where, **context())
        except Exception as error:
            problems.append(f"no page {name}: {_why(error)}")
            return name, render("failed.html", **where, name=name, why=_why(error))

    for task, rows in _groups(board.results, lambda row: row.task):
        own = [r for r in robust if r.row.task == task]
        yield page(f"tasks/{task}.html", "task.html", "../", "", partial(_task, task, rows, own, drawn.curves, series))

    def costs() -> dict[str, Any]:
        found = [(budget, [_cost(row) for row in rows]) for budget, rows in ranking]
        return {"costs": found, "energy": any(not math.isnan(c.energy_j) for _, rows in found for c in rows)}

    episodes = sum(int(e.cells.episodes.sum()) for run in board.runs for e in (run.evaluation, *run.others))
    parts = {
        "tasks.html": lambda: {"ranking": ranking, "described": [(task, _spec(task)) for task in board.tasks]},
        "grades.html": lambda: {"ranking": ranking, "figures": drawn.grades},
        "robustness.html": lambda: _robustness(board, robust),
        "curricula.html": lambda: curriculum_comparison.context(board),
        "cost.html": costs,
        "methods.html": dict,
        "index.html": lambda: {"ranking": ranking, "figures": drawn.overall, "episodes": episodes},
    }
    texts = [page(name, name, "", name, context) for name, context in parts.items()]
    yield from runs.items()
    yield from texts


def _task(
    task: str,
    rows: Sequence[TaskRow],
    robust: Sequence[RobustRow],
    curves: Mapping[str, list[drawings.Drawing]],
    series: Mapping[Entry, int],
) -> dict[str, Any]:
    spec = _spec(task)
    return {
        "task": task,
        "spec": spec,
        "results": _groups(rows, lambda row: row.entry.budget),
        "curves": curves.get(task, []),
        "panels": drawings.panels(robust, spec, series),
    }


def _robustness(board: Board, robust: Sequence[RobustRow]) -> dict[str, Any]:
    heat_maps: list[tuple[str, list[tuple[str, bool]], list[tuple[RobustRow, dict[str, FactorRow]]]]] = []
    for task, rows in _groups(robust, lambda r: r.row.task):
        names = sorted({f.name for r in rows for f in r.factors})
        held = {f.name for f in getattr(_spec(task), "factors", ()) if f.held_out}
        maps = [(r, {f.name: f for f in r.factors}) for r in rows]
        heat_maps.append((task, [(name, name in held) for name in names], maps))
    return {
        "by_task_rows": _groups(robust, lambda r: r.row.task),
        "groups": perturbed.groups(robust),
        "heat_maps": heat_maps,
        "engines": _groups(board.engines, lambda row: row.own.task),
    }


def _cost(row: RankRow) -> Cost:
    results = [run.result for run in row.runs]
    wall = float(np.mean([r["wall_time_s"] for r in results]))
    steps = float(np.mean([r["env_steps"] for r in results]))
    energies = [r.get("energy_j") for r in results]
    return Cost(
        row=row,
        env_steps=steps,
        wall_time_s=wall,
        rate=steps / wall if wall else 0.0,
        evaluation_time_s=float(np.mean([r["evaluation_time_s"] for r in results])),
        runs=len(results),
        hours=sum(r["wall_time_s"] + r["evaluation_time_s"] for r in results) / 3600,
        energy_j=float(np.mean([e for e in energies if e is not None])) if None not in energies else np.nan,
        devices=tuple(sorted({r["device"] for r in results})),
    )


def _choices(board: Board) -> list[tuple[str, str, list[str]]]:
    entries = {run.entry for run in board.runs}
    return [
        ("task", "Task", list(board.tasks)),
        ("algo", "Algorithm", sorted({e.algo for e in entries})),
        ("budget", "Budget", sorted({e.budget for e in entries}, key=budget_order)),
        ("curriculum", "Curriculum", sorted({e.curriculum for e in entries})),
        ("level", "Level", sorted({e.randomization for e in entries})),
        ("engine", "Engine", sorted({e.engine for e in entries})),
    ]


def _spec(task: str) -> Any:
    """What the task declares, or None for one that this version of the suite has not."""
    return declared.get(task) if task in declared.names() else None


def _groups[T](rows: Iterable[T], key: Callable[[T], str]) -> list[tuple[str, list[T]]]:
    return [(name, list(group)) for name, group in groupby(rows, key)]
