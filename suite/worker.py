"""One run from beginning to end: `python -m suite.worker RUN_DIR`. What it has to do is in the directory's config.

It has no simulator itself: training and evaluation are processes that it starts one after the other, since a process
can hold one simulation and may not survive its end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

import tasks
from suite import config as configs
from suite import evaluation, process
from suite.errors import first_line
from suite.provenance import collect
from suite.rundir import RESULT_SCHEMA, RunDir, now, read_json, sha256, write_json, write_status
from suite.tracking import Tracker
from tasks.spec import TaskSpec

STATUS_S = 0.5  # [s] between two writes of status.json


class RunError(RuntimeError):
    """A run that failed; the message is the reason, in one line."""


class Status:
    """Keeps `status.json` up to date, without writing more often than somebody can look."""

    def __init__(self, run: RunDir, total_env_steps: int) -> None:
        """Start from an empty status."""
        self._run, self._written = run, 0.0
        self._fields: dict[str, Any] = {"state": "starting", "env_steps": 0, "total_env_steps": total_env_steps}
        self._fields |= dict.fromkeys(("steps_per_s", "return_mean", "success_mean", "eta_s"))

    @property
    def state(self) -> str:
        """The state reported last."""
        return self._fields["state"]

    def __call__(self, state: str, **fields: Any) -> None:
        """Report `state`; a change of it is written at once."""
        changed = state != self.state or not self._written
        # A mean over no episodes is no news.
        self._fields |= {"state": state} | {key: value for key, value in fields.items() if value == value}
        if changed or time.monotonic() - self._written > STATUS_S:
            write_status(self._run.status, **self._fields)
            self._written = time.monotonic()


def main() -> int:
    """Do what is left of the run."""
    process.follow_parent()
    run = RunDir(Path(sys.argv[1]))
    held = run.lock()  # noqa: F841 (held until the process ends)
    config = configs.load(run)
    report = Status(run, config.train.env_steps)
    report("starting", message="")
    try:
        _finish(config, run, report)
    except (RunError, evaluation.EvaluationError) as error:
        report("failed", message=first_line(error))
        return 1
    except BaseException as error:
        report("failed", message=f"{type(error).__name__}: {first_line(error)}")
        raise
    return 0


def _finish(config: DictConfig, run: RunDir, report: Status) -> None:
    spec = tasks.get(config.task)
    provenance = collect(spec, config.command)
    earlier = read_json(run.provenance) or {}
    provenance["started"] = earlier.get("started", provenance["started"])  # of the first try
    write_json(run.provenance, provenance)
    tracker = Tracker(config, run)
    if not run.policy.exists():
        _train(config, run, tracker, report)
    curve = _curve(run)

    protocol = evaluation.Protocol(config.task, config.engine, config.device, **config.eval)
    steps = curve[-1]["env_steps"] if curve else 0
    report("evaluating", env_steps=steps, eta_s=None, message="")
    start = time.monotonic()
    rows = evaluation.evaluate(
        protocol,
        run.policy,
        run.log,
        lambda done, news: report("evaluating", message=news or f"evaluated {done} of {protocol.episodes} episodes"),
    )
    evaluation_time = time.monotonic() - start
    episodes_hash = evaluation.write(run.episodes, rows, protocol, config.algo)
    provenance["ended"] = now()
    write_json(run.provenance, provenance)
    result = {
        "schema": RESULT_SCHEMA,
        **{key: config[key] for key in ("suite_version", "task", "algo", "randomization", "engine", "seed", "budget")},
        "curriculum": config.curriculum.name,
        "overrides": _overrides(config, spec),
        "env_steps": steps,
        "wall_time_s": curve[-1]["wall_time_s"] if curve else 0.0,
        "evaluation_time_s": evaluation_time,
        "device": _device_name(config.device, provenance),
        **evaluation.summary(rows),
        "policy_sha256": sha256(run.policy),
        "episodes_sha256": episodes_hash,
        "command": config.command,
        "provenance": provenance,
    }
    write_json(run.result, result)
    means = {f"{key}_mean": _mean(result[key]) for key in ("success", "return")}
    report("complete", **means, message="")
    tracker.finish(run, result, curve)  # after the result, which does not wait for a slow upload


def _train(config: DictConfig, run: RunDir, tracker: Tracker, report: Status) -> None:
    with process.Child(["suite.training", str(run.path)], run.log) as child:
        for event in child:
            if event is None:
                if report.state == "starting":
                    report("starting", message=child.news())
            elif "status" in event:
                report(**event["status"])
            else:
                tracker.log(event["row"])
    if not run.policy.exists():
        raise RunError(process.reason(child.code, run.log))


def _curve(run: RunDir) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(run.progress).to_pylist() if run.progress.exists() else []


def _mean(by_grade: Mapping[str, float]) -> float:
    return sum(by_grade.values()) / len(by_grade)


def _overrides(config: DictConfig, spec: TaskSpec) -> dict[str, Any]:
    return configs.changes(configs.defaults(spec, config.algo, config.budget, config.curriculum.name), config)


def _device_name(device: str, provenance: Mapping[str, Any]) -> str:
    if device == "cpu":
        return provenance["cpu"]
    return provenance["gpus"][int(device.partition(":")[2])]


if __name__ == "__main__":
    process.leave(main)
