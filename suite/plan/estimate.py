"""`--dry-run`: the runs of a plan, what is complete, and how long the rest takes on these devices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import baselines
import tasks
from suite import protocol
from suite.plan import config as configs
from suite.plan import plans
from suite.plan.matrix import Job
from suite.report.display import clock
from suite.runs import schemas
from tasks.spec import GRADES

GUESSES = {
    "cpu": {"start_s": 40.0, "train": 1000.0, "replay": 300.0, "evaluate": 1000.0},
    "cuda": {"start_s": 120.0, "train": 40_000.0, "replay": 5000.0, "evaluate": 40_000.0},
}
"""By kind of device: start of a run [s]; env steps/s in training without and with a replay buffer, and in evaluation.

Guesses on the slow side of what the README reports, used where no run of that kind has finished in the folder.
"""
MAX_ROWS = 60

Kind = tuple[str, str, str, int, str]  # task, algorithm, engine, envs, kind of device


@dataclass
class Speed:
    """What runs of one kind took: env steps/s of the training, seconds of evaluation per episode."""

    train: list[float] = field(default_factory=list)
    episode_s: list[float] = field(default_factory=list)


@dataclass
class Row:
    """Runs that differ in their seeds alone. Times in seconds; `runs_known` is how many the time was taken from."""

    task: str
    algo: str
    variant: str
    runs: int
    complete: int
    each_s: float
    runs_known: int

    @property
    def left_s(self) -> float:
        """Time that the rest takes on one device, one after the other."""
        return (self.runs - self.complete) * self.each_s


def show(jobs: Sequence[Job], devices: Sequence[str], out: Path) -> None:
    """Print the plan; nothing is started or written."""
    from rich.console import Console
    from rich.table import Table

    rows = estimate(jobs, results(out), devices[0].partition(":")[0])
    view = Table(title=f"{len(jobs)} runs in {out}", title_justify="left")
    for name in ("task", "algo", "variant"):
        view.add_column(name, overflow="fold")
    for name in ("runs", "complete", "time each", "time left"):
        view.add_column(name, justify="right", no_wrap=True)
    for row in rows[:MAX_ROWS]:
        about = "" if row.runs_known else "~"
        times = [about + clock(row.each_s), (about + clock(row.left_s)) if row.left_s else ""]
        view.add_row(row.task, row.algo, row.variant, str(row.runs), str(row.complete), *times)
    console = Console()
    console.print(view)
    if len(rows) > MAX_ROWS:
        console.print(f"and {len(rows) - MAX_ROWS} more rows")
    for line in summary(rows, devices):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def summary(rows: Sequence[Row], devices: Sequence[str]) -> list[str]:
    """Lines below the table: counts, and the time per device."""
    runs, complete = sum(row.runs for row in rows), sum(row.complete for row in rows)
    work = sum(row.left_s for row in rows)
    slots = min(len(devices), max(1, runs - complete))
    kind = devices[0].partition(":")[0]
    lines = [f"{runs} runs: {complete} complete, {runs - complete} to do"]
    if runs > complete:
        lines.append(
            f"estimated: about {clock(work / slots)} with {slots} at a time on {kind}"
            f" ({clock(work)} on one device, one run after the other)"
        )
        if any(not row.runs_known and row.left_s for row in rows):
            lines.append("~: an estimate from a shipped table of careful guesses; finished runs here replace it")
    return lines


def results(out: Path) -> dict[Path, dict[str, Any]]:
    """Every complete run in `out`: directory to what of its result is needed here."""
    keys = ("task", "algo", "engine", "num_envs", "env_steps", "wall_time_s", "evaluation_time_s")
    found = {}
    for run in plans.run_dirs(out):
        if (result := run.read_result()) is not None and not schemas.fault(result):
            found[run.path] = {key: result.get(key) for key in keys}
            found[run.path] |= {"device": _kind_of(result), "episodes": _episodes_of(result)}
    return found


def _kind_of(result: Mapping[str, Any]) -> str:
    """The kind of device of a result, which has the device's name."""
    return "cuda" if result.get("device") in result["provenance"].get("gpus", ()) else "cpu"


def _episodes_of(result: Mapping[str, Any]) -> int:
    return sum(result["episodes"].values()) + sum(cell["episodes"] for cell in result.get("cells", {}).values())


def _episodes(job: Job) -> int:
    """How many episodes the evaluation of a job has."""
    evaluation = job.setting["eval"]
    count = 0
    for spec in configs.parts_of(tasks.get(job.task)):
        cells = len(protocol.cells(spec, evaluation["protocol"])) - len(GRADES)
        count += len(GRADES) * evaluation["episodes_per_grade"] + cells * evaluation["episodes_per_cell"]
    return count


def estimate(jobs: Iterable[Job], done: Mapping[Path, Mapping[str, Any]], device: str) -> list[Row]:
    """A row per setting, in the order of the plan, for a kind of device (`cpu` or `cuda`)."""
    speeds: dict[Kind, Speed] = defaultdict(Speed)
    for result in done.values():
        speed = speeds[tuple(result[key] for key in ("task", "algo", "engine", "num_envs", "device"))]
        if result["wall_time_s"] > 0 and result["env_steps"] > 0:
            speed.train.append(result["env_steps"] / result["wall_time_s"])
        speed.episode_s.append((result["evaluation_time_s"] or 0.0) / result["episodes"])
    rows: dict[Path, Row] = {}
    for job in jobs:
        folder = job.run.path.parent
        if folder not in rows:
            speed = speeds.get(
                (job.task, job.algo, job.setting["engine"], job.setting["train"]["num_envs"], device), Speed()
            )
            each = _each_s(job, speed, device)
            rows[folder] = Row(job.task, job.algo, job.variant, 0, 0, each, len(speed.episode_s))
        rows[folder].runs += 1
        rows[folder].complete += job.run.path in done
    return list(rows.values())


def _each_s(job: Job, speed: Speed, device: str) -> float:
    guess = GUESSES[device]
    train = guess["replay" if "buffer_size" in job.setting["agent"] else "train"]
    episode_s = tasks.get(job.task).max_episode_steps / guess["evaluate"]
    if speed.train:
        train = median(speed.train)
    if speed.episode_s:
        episode_s = median(speed.episode_s)
    steps = 0 if job.algo in baselines.reference_names() else job.env_steps
    return guess["start_s"] + steps / train + _episodes(job) * episode_s
