"""One run from beginning to end: `python -m suite.runs.worker RUN_DIR`. What it has to do is in the directory's config.

It has no simulator itself: training and evaluation are processes that it starts one after the other, since a process
can hold one simulation and may not survive its end.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

import baselines
import tasks
from baselines import policy_header
from suite import protocol as protocols
from suite.errors import first_line
from suite.execute import process
from suite.execute.lease import Claimant, Lease
from suite.plan import config as configs
from suite.protocol import Protocol
from suite.runs import evaluation, multitask, schemas
from suite.runs.guard import WATCHDOG_S, Guard
from suite.runs.provenance import collect
from suite.runs.rundir import (
    FILES,
    FormatError,
    RunDir,
    now,
    read_json,
    sha256,
    sweep,
    write_checked,
    write_json,
    write_status,
)
from suite.tracking.tracker import Tracker
from tasks.core import engines
from tasks.isaaclab.assets import hashes
from tasks.spec import TaskSpec

STATUS_S = 0.5  # [s] between two writes of status.json


class RunError(RuntimeError):
    """A run that failed; the message is the reason, in one line."""


class Stopped(BaseException):
    """The run was asked to end, and nothing would be lost."""


class Status:
    """Keeps `status.json` up to date, without writing more often than somebody can look."""

    def __init__(self, run: RunDir, total_env_steps: int) -> None:
        self._run, self._written = run, 0.0
        first = schemas.Status(state="starting", total_env_steps=total_env_steps)
        self._fields: dict[str, Any] = first.model_dump(exclude={"message", "updated"})
        self.on_news: Callable[[bool], None] = lambda slow: None

    @property
    def state(self) -> str:
        """The state reported last."""
        return self._fields["state"]

    def beat(self) -> None:
        """Note that the run goes on, without news."""
        self.on_news(self.state != "training")

    def __call__(self, state: str, **fields: Any) -> None:
        """Report `state`; a change of it is written at once. A file that cannot be written stops nothing."""
        changed = state != self.state or not self._written
        before = [self._fields.get(key) for key in ("state", "env_steps", "message")]
        # The mean over no episodes is NaN: the one before it stays.
        self._fields |= {"state": state} | {key: value for key, value in fields.items() if not _is_nan(value)}
        if before != [self._fields.get(key) for key in ("state", "env_steps", "message")]:
            self.on_news(state != "training")
        if changed or time.monotonic() - self._written > STATUS_S:
            with suppress(OSError):
                write_status(self._run.status, **self._fields)
            self._written = time.monotonic()


class Stop:
    """SIGTERM or SIGHUP stops the run at its next checkpoint, or at once where nothing would be lost."""

    def __init__(self, report: Status) -> None:
        """Take the signals over; `report` knows what the run does."""
        self._report = report
        self.asked = False
        self.training: process.Child | None = None
        process.take_signals(self._asked)

    def _asked(self, signum: int, frame: object) -> None:
        self.asked = True
        if self._report.state == "complete":  # what is left is the end of the W&B run
            return
        if self._report.state != "training" or self.training is None:
            raise Stopped
        self.training.ask_to_stop()


def main() -> int:
    """Do what is left of the run."""
    process.follow_parent()
    try:
        return _main()
    except Stopped:  # while an error was reported, say
        return process.STOPPED


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m suite.runs.worker")
    parser.add_argument("run", type=Path)
    parser.add_argument("--lease", type=int, help="generation of the lease that was taken for this process")
    parser.add_argument("--watchdog", type=float, default=WATCHDOG_S, help="seconds without progress that end it")
    args = parser.parse_args()
    run = RunDir(args.run)
    lease = _lease(run, args.lease)
    config = configs.load(run)
    report = Status(run, config.train.env_steps)
    tracker = Tracker()
    guard = Guard(lease, args.watchdog, lambda reason: report("failed", message=reason))
    report.on_news = guard.progress
    guard.start()
    try:
        stop = Stop(report)
        report("starting", message="")
        _finish(config, run, report, stop, tracker)
    except Stopped:
        return process.STOPPED
    except (RunError, FormatError, evaluation.EvaluationError) as error:
        report("failed", message=first_line(error))
        return process.DISK_FULL if process.disk_is_full(error) else 1
    except BaseException as error:
        report("failed", message=f"{type(error).__name__}: {first_line(error)}")
        raise
    finally:
        tracker.end({"complete": 0, "failed": 1}.get(report.state, process.STOPPED))
        if args.lease is None:
            lease.give_back()
    return 0


def _lease(run: RunDir, generation: int | None) -> Lease:
    if generation is None:
        lease = Claimant(run.path).claim()
        if lease is None:
            raise RunError(f"another process works on {run.path}")
        return lease
    lease = Lease(run.path, generation)
    lease.adopt()
    return lease


def _finish(config: DictConfig, run: RunDir, report: Status, stop: Stop, tracker: Tracker) -> None:
    sweep(run)
    if run.read_result() is None:
        run.result.unlink(missing_ok=True)  # it refers to files that no longer exist
    spec = tasks.get(config.task)
    provenance = collect(spec, config.command, config.engine, config.algo, config.curriculum.name)
    earlier = (read_json(run.provenance) or {}) | {"ended": None}
    if not schemas.problem(schemas.Started, "provenance.json", earlier):
        provenance["started"] = earlier.get("started", provenance["started"])  # of the first try
    write_checked(run.provenance, provenance, schemas.Started)
    tracker.start(config, run)
    if not _trained(config, run):
        _train(run, tracker, report, stop)
    curve = _curve(run)
    report("evaluating", env_steps=curve[-1]["env_steps"] if curve else 0, eta_s=None, message="")
    common = _common(config, run, curve, provenance)
    if config.multi:
        results = [_part(own, part, common, provenance, report) for own, part in multitask.parts(config, run)]
        result = common | multitask.outcome(results, run)
    else:
        result = common | _evaluated(config, run, common, report)
    result["provenance"] = provenance | {"ended": now()}
    write_checked(run.provenance, result["provenance"], schemas.Provenance)
    write_checked(run.result, result, schemas.MultitaskResult if config.multi else schemas.Result, once=True)
    means = {f"{key}_mean": _mean(result[key]) for key in ("success", "return")}
    report("complete", **means, message="")
    tracker.finish(run, result, curve)  # after the result, which does not wait for a slow upload


def _trained(config: DictConfig, run: RunDir) -> bool:
    """Whether the policy is there. One that is damaged is put aside, for the last checkpoint to be exported again."""
    if not run.policy.exists():
        return False
    try:
        for own in (run, *(part for _, part in (multitask.parts(config, run) if config.multi else ()))):
            policy_header.read(own.policy)
    except policy_header.PolicyError as error:
        if config.algo not in (*baselines.known(), *baselines.reference_names()):
            raise RunError(f"{first_line(error)}; adopt it again") from None  # it was trained elsewhere
        print(f"making the policy again: {first_line(error)}", flush=True)
        os.replace(run.policy, run.policy.with_name("policy.damaged"))
        return False
    return True


def _common(
    config: DictConfig, run: RunDir, curve: list[dict[str, Any]], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """What result.json says of the training and the policy."""
    return {
        "schema": schemas.SCHEMA,
        **{key: config[key] for key in ("suite_version", "task", "algo", "randomization", "engine", "seed", "budget")},
        "curriculum": config.curriculum.name,
        "overrides": _overrides(config, tasks.get(config.task)),
        "env_steps": curve[-1]["env_steps"] if curve else 0,
        "wall_time_s": curve[-1]["wall_time_s"] if curve else 0.0,
        "energy_j": curve[-1].get("energy_j") if curve else None,
        "device": _device_name(config.device, provenance),
        "policy_sha256": sha256(run.policy),
        "num_envs": _num_envs(config, run),
        "failures": [each for each in run.read_failures() if not schemas.problem(schemas.Failure, "", each)],
        "command": config.command,
    }


def _part(
    config: DictConfig, run: RunDir, common: Mapping[str, Any], provenance: Mapping[str, Any], report: Status
) -> dict[str, Any]:
    """The result of one of several tasks that a policy was trained for, written to its own directory `run`."""
    digest = sha256(run.policy)
    if (result := run.read_result()) is not None and result["policy_sha256"] == digest:
        return result
    configs.save(config, run)
    result = {**common, "task": config.task, "policy_sha256": digest}
    result |= _evaluated(config, run, result, report)
    result["provenance"] = {**provenance, "assets": hashes(tasks.get(config.task).assets), "ended": now()}
    write_checked(run.provenance, result["provenance"], schemas.Provenance)
    write_checked(run.result, result, schemas.Result)
    return result


def _evaluated(config: DictConfig, run: RunDir, common: Mapping[str, Any], report: Status) -> dict[str, Any]:
    """Evaluate the run's policy on its task, also on the other engine; returns what result.json says of that."""
    protocol = Protocol(config.task, config.engine, config.device, **config.eval)
    outcome = _evaluated_before(protocol, run, common["policy_sha256"])
    if outcome is None:
        start = time.monotonic()
        rows = _evaluate(protocol, run, report)
        outcome = {
            "evaluation_time_s": time.monotonic() - start,
            "protocol": protocols.identity(tasks.get(config.task), protocol),
            **evaluation.summary(rows),
            "episodes_sha256": evaluation.write(run.episodes, rows, protocol, config.algo),
        }
        write_json(run.evaluation, {"policy_sha256": common["policy_sha256"], "outcome": outcome})
    if config.eval.protocol != "nominal":
        _on_the_other_engine(protocol, run, common, report)
    tables = [file for file in FILES.values() if file.written == "training" and file.hashed]
    return outcome | {f.hashed: sha256(run.path / f.path) for f in tables if (run.path / f.path).exists()}


def _evaluated_before(protocol: Protocol, run: RunDir, policy_sha256: str) -> dict[str, Any] | None:
    """The outcome of an evaluation that ended before this process began, if it is of this policy and protocol."""
    record = read_json(run.evaluation) or {}
    if record.get("policy_sha256") != policy_sha256 or not run.episodes.exists():
        return None
    outcome = record["outcome"]
    same = outcome["protocol"] == protocols.identity(tasks.get(protocol.task), protocol)
    return outcome if same and outcome["episodes_sha256"] == sha256(run.episodes) else None


def _evaluate(protocol: Protocol, run: RunDir, report: Status) -> list[dict[str, Any]]:
    total = evaluation.episodes(protocol)
    return evaluation.evaluate(
        protocol,
        run.policy,
        run.log,
        lambda done, news: report("evaluating", message=news or f"evaluated {done} of {total} episodes"),
    )


def _on_the_other_engine(protocol: Protocol, run: RunDir, result: Mapping[str, Any], report: Status) -> None:
    """The nominal cells of a policy trained on PhysX on MuJoCo-Warp, and the reverse, where both are installed."""
    spec, other = tasks.get(protocol.task), engines.get(protocol.engine).counterpart
    if not other:
        return
    try:
        engine = engines.check(other, spec)
    except engines.EngineError:
        return
    protocol = replace(protocol, engine=engine, protocol="nominal")
    start = time.monotonic()
    rows = _evaluate(protocol, run, report)
    folder = run.path / "evaluations" / engine
    folder.mkdir(parents=True, exist_ok=True)
    digest = evaluation.write(folder / "episodes.parquet", rows, protocol, result["algo"])
    command = f"python -m suite.evaluate {run.path} --physics {engine} --protocol nominal"
    command += f" --episodes {protocol.episodes_per_grade}"
    evaluation.write_record(folder, protocol, result, rows, digest, time.monotonic() - start, command)


def _train(run: RunDir, tracker: Tracker, report: Status, stop: Stop) -> None:
    with process.Child(["suite.runs.training", str(run.path)], run.log) as child:
        stop.training = child
        for event in child:
            if event is None:
                if report.state == "starting":
                    report("starting", message=child.news())
            elif "status" in event:
                report(**event["status"])
            elif "beat" in event:
                report.beat()
            else:
                tracker.log(event["row"])
        stop.training = None
    if stop.asked:
        raise Stopped
    if not run.policy.exists():
        raise RunError(process.reason(child.code or 0, run.log))


def _curve(run: RunDir) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(run.progress).to_pylist() if run.progress.exists() else []


def _num_envs(config: DictConfig, run: RunDir) -> int:
    config = copy.deepcopy(config)
    configs.reduce_envs(config, run)
    return config.train.num_envs


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _mean(by_grade: Mapping[str, float]) -> float:
    return sum(by_grade.values()) / len(by_grade)


def _overrides(config: DictConfig, spec: TaskSpec) -> dict[str, Any]:
    if config.algo not in (*baselines.known(), *baselines.reference_names()):
        return {}  # trained elsewhere, see suite.adopt: there are no defaults that it could differ from
    changes = configs.changes(configs.defaults(spec, config.algo, config.budget, config.curriculum.name), config)
    return changes | ({"multi.tasks": config.task} if config.multi else {})


def _device_name(device: str, provenance: Mapping[str, Any]) -> str:
    if device == "cpu":
        return provenance["cpu"]
    return provenance["gpus"][int(device.partition(":")[2])]


if __name__ == "__main__":
    process.leave(main)
