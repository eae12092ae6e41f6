"""The board as a static site: pages that need nothing but each other, from a disk or any web server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import tasks as declared
from leaderboard import drawings, parallel, perturbed, teaching
from leaderboard.board import SEEDS_TO_RANK, Board, Estimate, RankRow, budget_order
from leaderboard.drawings import SHOWN
from leaderboard.intervals import wilson_interval
from leaderboard.perturbed import RobustRow
from leaderboard.runs import Evaluation, Run
from leaderboard.schema import GRADES

NAV = (
    ("index.html", "Ranking"),
    ("tasks.html", "Tasks"),
    ("grades.html", "Grades"),
    ("robustness.html", "Robustness"),
    ("curricula.html", "Curricula"),
    ("cost.html", "Cost"),
    ("methods.html", "Methods and data"),
)
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


def pages(board: Board) -> Iterator[tuple[str, str]]:
    """Path and text of each file of the site; `index.html` is the last. Text from runs is escaped wherever it is."""
    for name in ASSETS:
        yield f"assets/{name}", _environment().loader.get_source(_environment(), name)[0]
    yield from parallel.each(run_page, [(run,) for run in board.runs], PARALLEL_FROM)
    drawn = drawings.draw(board)
    robust = perturbed.robust_rows(board.results, board.engines)
    common = {"board": board, "newest": board.newest, "grades": GRADES, "shown": SHOWN, "choices": _choices(board)}
    for task in board.tasks:
        yield f"tasks/{task}.html", _task_page(task, board, robust, drawn, common)
    ranking = _groups(board.ranking, lambda row: row.entry.budget)
    yield "tasks.html", render("tasks.html", common, ranking=ranking, described=_described(board.tasks))
    yield "grades.html", render("grades.html", common, ranking=ranking, figures=drawn.grades)
    yield "robustness.html", _robustness_page(board, robust, common)
    yield "curricula.html", render("curricula.html", common, **teaching.context(board))
    costs = [(budget, [_cost(row) for row in rows]) for budget, rows in ranking]
    energy = any(c.energy_j == c.energy_j for _, rows in costs for c in rows)
    yield "cost.html", render("cost.html", common, costs=costs, energy=energy)
    yield "methods.html", render("methods.html", common, seeds_to_rank=SEEDS_TO_RANK)
    episodes = sum(int(e.cells.episodes.sum()) for run in board.runs for e in (run.evaluation, *run.others))
    context = {"ranking": ranking, "figures": drawn.overall, "seeds_to_rank": SEEDS_TO_RANK, "episodes": episodes}
    yield "index.html", render("index.html", common, **context)


def run_page(run: Run) -> tuple[str, str]:
    """Path and text of the page of one run."""
    context = {
        "run": run,
        "provenance": to_json(run.result["provenance"]),
        "sparkline": Markup(drawings.sparkline(run.curve)) if run.curve is not None else "",
        "script": False,
    }
    return run_path(run), render("run.html", {}, root="../", here=None, **context)


def run_path(run: Run) -> str:
    """Where a run's page lies: readable, unique, the same wherever the run was found, and safe in a URL."""
    name = "-".join((run.task, run.entry.algo, run.entry.curriculum, run.entry.randomization, run.entry.budget))
    digest = hashlib.sha256(json.dumps([run.task, *vars(run.entry).values(), run.seed]).encode()).hexdigest()[:8]
    return f"runs/{name[:120]}-seed{run.seed}-{digest}.html"


def _task_page(task: str, board: Board, robust: Sequence[RobustRow], drawn: drawings.Drawn, common: dict) -> str:
    rows = [row for row in board.results if row.task == task]
    return render(
        "task.html",
        common,
        root="../",
        task=task,
        spec=_spec(task),
        results=_groups(rows, lambda row: row.entry.budget),
        curves=drawn.curves.get(task, ()),
        panels=drawings.panels([r for r in robust if r.row.task == task], _spec(task)),
    )


def _robustness_page(board: Board, robust: Sequence[RobustRow], common: dict) -> str:
    heat_maps = []
    for task, rows in _groups(robust, lambda r: r.row.task):
        names = sorted({f.name for r in rows for f in r.factors})
        held = {f.name for f in getattr(_spec(task), "factors", ()) if f.held_out}
        maps = [(r, {f.name: f for f in r.factors}) for r in rows]
        heat_maps.append((task, [(name, name in held) for name in names], maps))
    return render(
        "robustness.html",
        common,
        rows=robust,
        by_task_rows=_groups(robust, lambda r: r.row.task),
        groups=sorted({name for r in robust for name in r.retention}, key=group_order),
        heat_maps=heat_maps,
        engines=_groups(board.engines, lambda row: row.own.task),
    )


def group_order(name: str) -> tuple[int, str]:
    """Sorts groups of cells: categories, all mixed, held out, other engines."""
    return ("category", "all", "held_out", "engine").index(name.split("/")[0]), name


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
        energy_j=float(np.mean(energies)) if all(isinstance(e, int | float) for e in energies) else np.nan,
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


def _described(tasks: Iterable[str]) -> list[tuple[str, str]]:
    return [(task, spec.summary if (spec := _spec(task)) else "") for task in tasks]


def _groups(rows: Iterable[Any], key: Any) -> list[tuple[str, list[Any]]]:
    return [(name, list(group)) for name, group in groupby(rows, key)]


def render(template: str, common: dict[str, Any], **context: Any) -> str:
    """Text of a template of `leaderboard/templates`."""
    return _environment().get_template(template).render({"root": "", "here": template, **common, **context})


def percent(value: float) -> str:
    """`98.4`; no digits after 0 and 100 that are exact."""
    return f"{100 * value:.0f}" if value in (0.0, 1.0) else f"{100 * value:.1f}"


def interval(estimate: Estimate) -> str:
    """`94.6–99.1`, in percent; nothing where it is not known."""
    if estimate.low != estimate.low:
        return ""
    return f"{percent(round(estimate.low, 4))}–{percent(round(estimate.high, 4))}"


def points(value: float) -> str:
    """`+1.2` points, of a difference of shares."""
    return f"{100 * value:+.1f}".replace("-", "−")


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


def energy(joules: float) -> str:
    """`1.25 kWh`, or `84 Wh`."""
    hours = joules / 3600
    return f"{hours / 1000:.3g} kWh" if hours >= 1000 else f"{hours:.3g} Wh"


def scalar(value: Any) -> str:
    """A setting's value in one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def to_json(value: Any) -> str:
    """Indented JSON, to be read."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def grade_rows(e: Evaluation) -> list[tuple[str, Estimate, int, int, float]]:
    """One evaluation of one run: grade, success with its Wilson interval, successes, episodes, mean return."""
    low, high = wilson_interval(e.successes, e.episodes)
    return [
        (g, Estimate(k / n, lo, hi), int(k), int(n), float(r))
        for g, k, n, lo, hi, r in zip(GRADES, e.successes, e.episodes, low, high, e.returns, strict=True)
    ]


def cell_rows(e: Evaluation) -> list[tuple[str, Estimate, int, int, list[float]]]:
    """Each cell of one run: name, success with Wilson's interval, counts, violations per episode."""
    c = e.cells
    low, high = wilson_interval(c.successes, c.episodes)
    steps_over = [values / c.episodes for values in c.violations.values()]
    return [
        (name, Estimate(k / n, low[i], high[i]), int(k), int(n), [float(v[i]) for v in steps_over])
        for i, (name, k, n) in enumerate(zip(c.names, c.successes, c.episodes, strict=True))
    ]


def all_violations(row: RobustRow) -> Estimate:
    """Steps over any limit per episode, perturbed, as a number without an interval; NaN where no limit is declared."""
    if not row.violations:
        return Estimate(np.nan, np.nan, np.nan)
    if len(row.violations) == 1:
        return row.violations[0].perturbed
    return Estimate(sum(v.perturbed.value for v in row.violations), np.nan, np.nan)


def group_name(name: str) -> str:
    """A column's heading: `category/sensor` is `sensor`, `all/mixed` is `all mixed`."""
    kind, _, rest = name.partition("/")
    return rest if kind in ("category", "engine") else f"{kind} {rest}".replace("_", " ")


@cache
def _environment() -> Environment:
    import suite

    environment = Environment(
        loader=PackageLoader("leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(version=suite.__version__, nav=NAV)
    environment.filters.update(
        {f.__name__: f for f in (percent, interval, points, steps, duration, energy, scalar, group_name)}
        | {f.__name__: f for f in (grade_rows, cell_rows, all_violations)},
        json=to_json,
        mean=lambda values: float(np.mean(list(values))),
        plain=lambda value: f"{value:.4f}",
        thousands=lambda value: f"{value:,}".replace(",", "\u202f"),
        fromjson=lambda text: sorted(json.loads(text).items()),
        run_page=run_path,
        by_task=lambda rows: {row.task: row for row in rows},
        by_grade_text=lambda values: ", ".join(f"{g} {percent(v)}" for g, v in zip(GRADES, values, strict=True)),
    )
    return environment
