"""Templates, how numbers are written in them, and the page of a run, which needs no plotting library."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import suite
from leaderboard.board.rows import Estimate
from leaderboard.data.curriculum_log import drawings
from leaderboard.data.curves import TrainingCurve
from leaderboard.data.evaluations import Evaluation
from leaderboard.data.runs import Run
from suite.report.wilson import wilson_interval
from tasks.spec import GRADES

NAV = (
    ("index.html", "Ranking"),
    ("tasks.html", "Tasks"),
    ("grades.html", "Grades"),
    ("robustness.html", "Robustness"),
    ("curricula.html", "Curricula"),
    ("cost.html", "Cost"),
    ("methods.html", "Methods and data"),
)

_LOADER = PackageLoader("leaderboard.site")


def render(template: str, **context: Any) -> str:
    """A template's text. Whatever is put into it is escaped."""
    return environment().get_template(template).render(context)


def source(name: str) -> str:
    """A file that lies beside the templates."""
    return _LOADER.get_source(environment(), name)[0]


def run_page(run: Run, submissions: str = "") -> tuple[str, str]:
    """Path and text of the page of one run; `submissions` is the address of the submission service, if there is one."""
    context = {
        "run": run,
        "provenance": to_json(run.result["provenance"]),
        "sparkline": sparkline(run.curve) if run.curve is not None else "",
        "course": drawings(run.course) if run.course is not None else [],
        # A submitted run lies with the service, and what other code trained the suite cannot train again.
        "reproducible": run.submission is None and " suite.adopt " not in run.result["command"],
    }
    return run_path(run), render("run.html", root="../", here="", submissions=submissions, **context)


def run_path(run: Run) -> str:
    """Where a run's page lies: readable, unique, the same wherever the run was found, and safe in a URL."""
    name = "-".join((run.task, run.entry.algo, run.entry.curriculum, run.entry.randomization, run.entry.budget))
    told = [value for name, value in vars(run.entry).items() if value or name != "packages"]  # as before there were any
    digest = hashlib.sha256(json.dumps([run.task, *told, run.seed]).encode()).hexdigest()[:8]
    return f"runs/{name[:120]}-seed{run.seed}-{digest}.html"


def sparkline(curve: TrainingCurve) -> Markup:
    """A run's learning curve as small SVG, made without a plotting library since there may be thousands."""
    known = np.isfinite(curve.success)
    x = 600 * curve.env_steps[known] / curve.env_steps[-1] if known.any() else np.zeros(0)
    y = 120 * (1 - curve.success[known])
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    last = f"{100 * curve.success[known][-1]:.0f}" if known.any() else "no"
    return Markup(
        '<svg class="sparkline" viewBox="0 -4 636 128" role="img" '
        f'aria-label="Training success, {last} percent at the end">'
        '<path d="M0 0H600M0 60H600M0 120H600" class="rule"/>'
        '<text x="606" y="4">100</text><text x="606" y="64">50</text><text x="606" y="124">0</text>'
        f'<polyline points="{line}"/></svg>'
    )


def percent(value: float) -> str:
    """`98.4`; no digits after 0 and 100 that are exact."""
    return f"{100 * value:.0f}" if value in (0.0, 1.0) else f"{100 * value:.1f}"


def interval(estimate: Estimate) -> str:
    """`94.6–99.1`, in percent; nothing where it is not known."""
    if estimate.low != estimate.low:
        return ""
    return f"{percent(round(estimate.low, 4))}–{percent(round(estimate.high, 4))}"


def bracketed(estimate: Estimate) -> str:
    """` (94.6–99.1)`, to stand behind the value; nothing where it is not known."""
    return f" ({interval(estimate)})" if interval(estimate) else ""


def points(value: float) -> str:
    """`+1.2` points, of a difference of shares."""
    return f"{100 * value:+.1f}".replace("-", "−")


def steps(value: float) -> str:
    """`1.5 M` env steps."""
    if not math.isfinite(value):
        return "–"
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}\u202f{suffix}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `12 s`."""
    if not math.isfinite(seconds):
        return "–"
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


def commands(runs: Sequence[Run]) -> list[str]:
    """The commands that made the runs, each once."""
    return list(dict.fromkeys(run.result["command"] for run in runs))


def by_grade_text(values: Sequence[float]) -> str:
    """`g1 98.4, g2 91.0, ...`, to be read aloud."""
    return ", ".join(f"{grade} {percent(v)}" for grade, v in zip(GRADES, values, strict=True))


FILTERS = (
    *(percent, interval, bracketed, points, steps, duration, energy, scalar),
    *(grade_rows, cell_rows, commands, by_grade_text),
)


@cache
def environment() -> Environment:
    """Jinja's environment: the templates, and the names and filters that they use."""
    made = Environment(
        loader=_LOADER,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names: dict[str, Any] = made.globals
    filters: dict[str, Any] = made.filters
    names.update(version=suite.__version__, nav=NAV)
    filters.update(
        {function.__name__: function for function in FILTERS},
        json=to_json,
        mean=lambda values: float(np.mean(list(values))),
        plain=lambda value: f"{value:.4f}",
        thousands=lambda value: f"{value:,}".replace(",", "\u202f"),
        fromjson=lambda text: sorted(json.loads(text).items()),
        run_page=run_path,
        time=lambda seconds: datetime.fromtimestamp(seconds, UTC),
    )
    return made
