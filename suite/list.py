"""`gradus list`: what can be run."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import baselines
import curricula
import suite
import tasks
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code
from suite.plan import parts
from suite.plan.config import BUDGETS
from suite.plan.matrix import algorithms, levels
from suite.plan.preflight import check_writable
from suite.report.tasks_page import markdown
from suite.runs.rundir import atomic
from tasks.core import engines
from tasks.spec import GRADES, TaskSpec


@app.command("suite.list", ("gradus list", "gradus list --json", "gradus list --markdown docs/tasks.md"))
def main(
    as_json: o.Json = False,
    page: Annotated[Path | None, o.folder("--markdown", "FILE", "write the page of the tasks (docs/tasks.md)")] = None,
) -> int:
    """Show what `gradus run` can run: tasks, algorithms, curricula, randomization levels, budgets."""
    if page:
        if page.is_dir():
            raise UserError(f"--markdown {page} is a folder; name a file")
        check_writable(page.parent)
        text = markdown([tasks.get(name) for name in tasks.names()])
        atomic(page, lambda path: path.write_text(text, encoding="utf-8"))
        print(page)
        return 0
    found = catalogue()
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _show(found)
    return 0


def catalogue() -> dict[str, Any]:
    """All names that the command line takes, and what each task declares.

    `parts` has the package of every part by kind and name: `my-package 1.0`, or None for Gradus.
    """
    specs = [tasks.get(name) for name in (*tasks.names(), *tasks.added())]
    used = {level for spec in specs for level in levels(spec)}
    return {
        "suite_version": suite.__version__,
        "tasks": [_task(spec) for spec in specs],
        "algorithms": [*baselines.known(), *baselines.reference_names()],
        "curricula": [_teacher(name) for name in curricula.known()],
        "randomization_levels": sorted(used),
        "budgets": list(BUDGETS),
        "parts": {kind: parts.origins(kind) for kind in parts.REGISTRIES},
    }


def _teacher(name: str) -> dict[str, Any]:
    teacher = curricula.get(name)
    return {"name": name, "summary": teacher.summary, "paper": teacher.paper, "teacher": teacher.teacher}


def _task(spec: TaskSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "package": str(tasks.REGISTRY.origin(spec.name) or "") or None,  # that brings it; None: Gradus
        "summary": spec.summary,
        "robot": spec.robot,
        "success": spec.success,
        "grades": list(GRADES),
        "grade_parameters": {name: asdict(parameter) for name, parameter in spec.grades.items()},
        "engines": list(spec.engines),
        "engines_missing": _engines_missing(spec),
        "factors": [
            {"name": f.name, "category": f.category, "unit": f.unit, "nominal": f.nominal, "held_out": f.held_out}
            | {"ranges": {level: list(bounds) for level, bounds in f.ranges.items()}, "evaluation": list(f.evaluation)}
            for f in spec.factors
        ],
        "algorithms": algorithms(spec),
        "budgets": dict(spec.budgets),
    }


def _engines_missing(spec: TaskSpec) -> dict[str, str]:
    """Engines on which the task does not run here, each with the reason."""
    here = engines.available()
    ours = [name for name in engines.concrete() if not engines.REGISTRY.origin(name)]
    names = dict.fromkeys((*ours, *(name for name in spec.engines if name not in (engines.TORCH, *ours))))
    missing: dict[str, str] = {}
    for name in names:
        if name not in spec.engines:
            missing[name] = spec.not_on.get(name, "the task does not support it")
        elif why := here.get(name, "its package is not installed"):
            missing[name] = why
    return missing


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
        missing = task["engines_missing"]
        runs = [name for name in task["engines"] if name not in missing]
        console.print(f"engines: {', '.join(runs) or 'none'}", highlight=False, soft_wrap=True)
        for name, reason in missing.items():
            console.print(f"not on {name}: {reason}", highlight=False, markup=False, soft_wrap=True)
        if task["package"]:
            console.print(f"from {task['package']}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"env steps: {steps}\n", highlight=False, soft_wrap=True)
    table = Table(title="curricula: what assigns difficulty and factors in training", title_justify="left", box=None)
    for name in ("name", "what it does", "after"):
        table.add_column(name, no_wrap=name == "name")
    for teacher in found["curricula"]:
        table.add_row(teacher["name"], teacher["summary"], teacher["paper"])
    console.print(table)
    for name in ("algorithms", "randomization_levels", "budgets"):
        console.print(f"{name.replace('_', ' ')}: {', '.join(found[name])}", highlight=False, soft_wrap=True)
    for kind in ("engine", "effect"):
        console.print(f"{kind}s: {', '.join(found['parts'][kind])}", highlight=False, soft_wrap=True)
    brought = defaultdict(list)
    for kind, names in found["parts"].items():
        for name, package in names.items():
            if package:
                brought[package].append(f"{kind} {name}")
    for package, names in sorted(brought.items()):
        console.print(f"from {package}: {', '.join(names)}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(exit_code("suite.list", main))
