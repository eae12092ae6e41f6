"""`python -m suite.list`: what can be run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import baselines
import curricula
import suite
import tasks
from suite.cli import Parser
from suite.config import BUDGETS
from suite.errors import exit_code
from suite.matrix import algorithms, levels
from tasks.spec import GRADES, TaskSpec


def main(argv: Sequence[str] | None = None) -> int:
    """Print tasks, algorithms, curricula, randomisation levels and budgets."""
    parser = Parser(prog="python -m suite.list", description="Show what suite.run can run.")
    parser.add_argument("--json", action="store_true", help="as a JSON object")
    args = parser.parse_args(argv)
    found = catalogue()
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        _show(found)
    return 0


def catalogue() -> dict[str, Any]:
    """All names that the command line takes, and what each task declares."""
    specs = [tasks.get(name) for name in tasks.names()]
    used = {level for spec in specs for level in levels(spec)}
    return {
        "suite_version": suite.__version__,
        "tasks": [_task(spec) for spec in specs],
        "algorithms": [*baselines.names(), *baselines.reference_names()],
        "curricula": [{"name": name, **asdict(curricula.about(name))} for name in curricula.names()],
        "randomization_levels": sorted(used),
        "budgets": list(BUDGETS),
    }


def _task(spec: TaskSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "robot": spec.robot,
        "success": spec.success,
        "grades": list(GRADES),
        "grade_parameters": {name: asdict(parameter) for name, parameter in spec.grades.items()},
        "engines": list(spec.engines),
        "factors": [
            {"name": f.name, "category": f.category, "unit": f.unit, "nominal": f.nominal, "held_out": f.held_out}
            | {"ranges": {level: list(bounds) for level, bounds in f.ranges.items()}, "evaluation": list(f.evaluation)}
            for f in spec.factors
        ],
        "algorithms": algorithms(spec),
        "budgets": dict(spec.budgets),
    }


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for task in found["tasks"]:
        table = Table(title=f"{task['name']}: {task['summary']}", title_justify="left", title_style="bold")
        for name in ("what the grade moves", *GRADES):
            table.add_column(name, justify="right" if name in GRADES else "left", no_wrap=True)
        for name, parameter in task["grade_parameters"].items():
            table.add_row(escape(f"{name} [{parameter['unit']}]"), *(f"{value:.4g}" for value in parameter["values"]))
        console.print(table)
        steps = ", ".join(f"{budget} {count / 1e6:g}M" for budget, count in task["budgets"].items())
        console.print(f"engines: {', '.join(task['engines'])}\nenv steps: {steps}\n", highlight=False, soft_wrap=True)
    table = Table(title="curricula: what assigns difficulty and factors in training", title_justify="left", box=None)
    for name in ("name", "what it does", "after"):
        table.add_column(name, no_wrap=name == "name")
    for teacher in found["curricula"]:
        table.add_row(teacher["name"], teacher["summary"], teacher["paper"])
    console.print(table)
    for name in ("algorithms", "randomization_levels", "budgets"):
        console.print(f"{name.replace('_', ' ')}: {', '.join(found[name])}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(exit_code("suite.list", main))
