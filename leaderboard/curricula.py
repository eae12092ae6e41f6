"""`gradus curricula RUNS`: whether a curriculum helped, from runs with a curve by grade."""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from leaderboard.data import runs as runs_module
from leaderboard.data.curves import GradeCurve
from leaderboard.data.runs import Run
from leaderboard.stats import curve_metrics
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code
from tasks.core.files import atomic
from tasks.spec import GRADES

REFERENCES = ("none", "uniform")
"""Curricula that all others are compared with."""


@dataclass(frozen=True)
class Metrics:
    """One run's numbers; see docs/curricula.md."""

    steps_to_threshold: float
    seconds_to_threshold: float
    jump_start: float
    asymptote: float
    area: float
    forgetting: float
    transfer: float
    teacher_share: float  # of the training's seconds


@dataclass(frozen=True)
class Row:
    """A curriculum in a comparison. `differences`: reference to the mean over common seeds of this one's minus its."""

    curriculum: str  # with its changed settings
    seeds: tuple[int, ...]
    metrics: tuple[Metrics, ...]  # by seed
    curves: tuple[GradeCurve, ...]  # by seed
    differences: Mapping[str, Metrics]


@dataclass(frozen=True)
class Comparison:
    """Curricula that differ in nothing else. `setting`: algorithm, level, engine, budget and changed settings."""

    task: str
    setting: str
    threshold: float
    rows: tuple[Row, ...]


def load(root: Path, threshold: float) -> list[Comparison]:
    """Compare all complete runs under `root` that have a curve. Raises `OSError` if `root` cannot be read."""
    return compare(runs_module.find(root).runs, threshold)


def compare(runs: Iterable[Run], threshold: float) -> list[Comparison]:
    """Compare runs with a curve by grade that differ in curriculum and seed alone, `REFERENCES` before the others."""
    groups: dict[tuple[str, str], dict[str, dict[int, GradeCurve]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        if run.by_grade is None:
            continue
        entry, changed = run.entry, json.loads(run.entry.overrides)
        own = [f"{key}={value}" for key, value in changed.items() if key.startswith("curriculum.")]
        other = [f"{key}={value}" for key, value in changed.items() if not key.startswith("curriculum.")]
        setting = " ".join([entry.algo, entry.randomization, entry.engine, entry.budget, *other])
        groups[run.task, setting][" ".join([entry.curriculum, *own])][run.seed] = run.by_grade
    comparisons: list[Comparison] = []
    for (task, setting), curricula in sorted(groups.items()):
        by_seed = {
            name: {seed: measure(curve, threshold) for seed, curve in sorted(curves.items())}
            for name, curves in curricula.items()
        }
        # The references first, then the largest area.
        order = sorted(by_seed, key=lambda name: (name not in REFERENCES, -_mean(by_seed[name].values()).area))
        rows = tuple(
            Row(
                curriculum=name,
                seeds=tuple(by_seed[name]),
                metrics=tuple(by_seed[name].values()),
                curves=tuple(curricula[name][seed] for seed in by_seed[name]),
                differences={
                    reference: _difference(by_seed[name], by_seed[reference])
                    for reference in REFERENCES
                    if reference != name and by_seed.get(reference, {}).keys() & by_seed[name].keys()
                },
            )
            for name in order
        )
        comparisons.append(Comparison(task, setting, threshold, rows))
    return comparisons


def measure(curve: GradeCurve, threshold: float) -> Metrics:
    """All metrics of one run."""
    return Metrics(
        steps_to_threshold=curve_metrics.to_threshold(curve.steps, curve.success, threshold),
        seconds_to_threshold=curve_metrics.to_threshold(curve.seconds, curve.success, threshold),
        jump_start=curve_metrics.jump_start(curve.steps, curve.success),
        asymptote=curve_metrics.asymptote(curve.steps, curve.success),
        area=curve_metrics.area(curve.steps, curve.success),
        forgetting=curve_metrics.forgetting(curve.success),
        transfer=curve_metrics.transfer(curve.success),
        teacher_share=float(curve.teacher_seconds[-1] / curve.seconds[-1]),
    )


def _difference(own: Mapping[int, Metrics], reference: Mapping[int, Metrics]) -> Metrics:
    pairs = [(own[seed], reference[seed]) for seed in sorted(own.keys() & reference.keys())]
    return _mean([Metrics(*(a - b for a, b in zip(vars(x).values(), vars(y).values(), strict=True))) for x, y in pairs])


def _mean(metrics: Iterable[Metrics]) -> Metrics:
    """Field by field, over the runs that have it: a threshold may not have been reached."""
    metrics = list(metrics)
    columns = ([getattr(m, f.name) for m in metrics] for f in fields(Metrics))
    known = ([value for value in column if not math.isnan(value)] for column in columns)
    return Metrics(*(sum(values) / len(values) if values else math.nan for values in known))


def table(comparison: Comparison) -> str:
    """The comparison as a Markdown table: means over seeds."""
    at = f"{100 * comparison.threshold:.0f} %"
    header = ["curriculum", "seeds", f"env steps to {at}", f"seconds to {at}", "jump-start", "asymptote", "area"]
    header += ["forgetting", "transfer", "teacher's time", *(f"area vs {name}" for name in REFERENCES)]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for row in comparison.rows:
        mean = _mean(row.metrics)
        reached = sum(not math.isnan(m.steps_to_threshold) for m in row.metrics)
        missed = f" ({reached} of {len(row.seeds)})" if reached < len(row.seeds) else ""
        shares = (mean.jump_start, mean.asymptote, mean.area, mean.forgetting, mean.transfer)
        versus = (row.differences.get(name) for name in REFERENCES)
        lines.append(
            [
                *(row.curriculum, str(len(row.seeds))),
                "never" if not reached else f"{mean.steps_to_threshold / 1e6:.3g} M{missed}",
                "never" if not reached else f"{mean.seconds_to_threshold:.3g}{missed}",
                *(f"{100 * value:.1f}" for value in shares),
                f"{100 * mean.teacher_share:.2f} %",
                *("" if other is None else f"{100 * other.area:+.1f}" for other in versus),
            ]
        )
    title = f"{comparison.task}: {comparison.setting} (success and area in percent)"
    return "\n".join([title, "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def plot(comparisons: Sequence[Comparison], file: Path) -> None:
    """Success over env steps of every curriculum, mean over seeds, overall and by grade: a row per comparison."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 0.6 + 2.9 * len(comparisons)), layout="constrained")
    grid = figure.subplots(len(comparisons), 1 + len(GRADES), squeeze=False, sharey=True)
    for axes, comparison in zip(grid, comparisons, strict=True):
        axes[0].set(ylabel=comparison.task, ylim=(-0.02, 1.02))
        for panel, name in zip(axes, ("all grades", *GRADES), strict=True):
            panel.set(title=name, xlabel="env steps [M]")
            panel.grid(alpha=0.3)
        for index, row in enumerate(comparison.rows):
            steps = row.curves[0].steps
            curves = [[np.interp(steps, c.steps, c.success[:, g]) for g in range(len(GRADES))] for c in row.curves]
            by_grade = np.mean(curves, axis=0)
            style = {"color": f"C{index}", "linestyle": ":" if row.curriculum in REFERENCES else "-"}
            for panel, y in zip(axes, [by_grade.mean(axis=0), *by_grade], strict=True):
                panel.plot(steps / 1e6, y, label=row.curriculum, **style)
        axes[-1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    kind = file.suffix.removeprefix(".") or "png"
    atomic(file, lambda temporary: figure.savefig(temporary, dpi=110, format=kind))


EXAMPLES = (
    "gradus curricula runs",
    "gradus curricula runs --threshold 0.8 --figure curves.png",
    "gradus curricula runs --json",
)


@app.command("leaderboard.curricula", EXAMPLES)
def main(
    runs: o.Runs,
    threshold: Annotated[
        float, o.option("--threshold", "SHARE", "overall success that counts as reached", parser=o.number)
    ] = 0.5,
    figure: Annotated[Path | None, o.folder("--figure", "FILE", "also draw the curves (png, svg or pdf)")] = None,
    as_json: o.Json = False,
) -> int:
    """Say whether a curriculum helped, from runs with a curve by grade (train.curve=true).

    It prints a Markdown table for each task and setting; with --json every number, by seed.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"--threshold must be above 0 and at most 1, got {threshold}")
    if figure and figure.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"--figure {figure}: the name has to end in .png, .svg or .pdf")
    try:
        comparisons = load(runs, threshold)
    except OSError as error:
        raise UserError(f"cannot read runs from {runs}: {error.strerror}; give suite.run's --out") from None
    if not comparisons:
        raise UserError(f"no complete run in {runs} has a curve by grade; make some with train.curve=true")
    if as_json:
        print(json.dumps([_plain(comparison) for comparison in comparisons], indent=1))
    else:
        print("\n\n".join(table(comparison) for comparison in comparisons))
    if figure:
        plot(comparisons, figure)
    return 0


def _plain(comparison: Comparison) -> dict[str, Any]:
    """For JSON, which has no NaN and needs no curves: those are in the run directories."""
    rows = [
        {
            "curriculum": row.curriculum,
            "seeds": {str(seed): asdict(metrics) for seed, metrics in zip(row.seeds, row.metrics, strict=True)},
            "differences": {name: asdict(metrics) for name, metrics in row.differences.items()},
        }
        for row in comparison.rows
    ]
    content = {"task": comparison.task, "setting": comparison.setting, "threshold": comparison.threshold, "rows": rows}
    return json.loads(json.dumps(content), parse_constant=lambda _: None)


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.curricula", main))
