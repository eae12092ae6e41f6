"""The process that trains one run: `python -m suite.runs.training RUN_DIR EVENTS`."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

import baselines
import curricula
import tasks
from suite.errors import UserError, first_line
from suite.execute import devices
from suite.execute.process import STOPPED, StopRequest, emitter, follow_parent, leave, limit_threads
from suite.plan import config as configs
from suite.plan.matrix import initial_policy
from suite.runs import multitask
from suite.runs.rundir import RunDir
from tasks.core.settings import as_dict

if TYPE_CHECKING:
    from baselines.learner.learners import Learner
    from curricula.mix import Mix
    from curricula.teacher import Teacher
    from tasks.core.env import Sampler, TensorEnv

SAVE_S = 10.0  # [s] between two writes of the tables
BEAT_S = 5.0  # [s] between two signs of life within an iteration
RATE_S = 5.0  # [s] over which the speed that is shown is averaged


class Reporter:
    """Sends the parent the status, at most four times a second, and the rows of the learning curve."""

    def __init__(self, file: str) -> None:
        """`file` is the last argument of the process, see `suite.execute.process.Child`."""
        self._emit, self._last, self._beat, self._state = emitter(file), 0.0, time.monotonic(), ""
        self._held: dict[str, Any] | None = None

    def status(self, state: str, **fields: Any) -> None:
        """Fields of status.json."""
        self._held = {"state": state, **fields}
        if state != self._state or time.monotonic() - self._last > 0.25:
            self.flush()
            self._last, self._state = time.monotonic(), state

    def beat(self) -> None:
        """Say, every few seconds, that the training goes on: an iteration may take longer than a watchdog waits."""
        if time.monotonic() - self._beat > BEAT_S:
            self._emit({"beat": True})
            self._beat = time.monotonic()

    def flush(self) -> None:
        """Send the last status if it was held back; it says at which step a training failed."""
        if self._held:
            self._emit({"status": self._held})
            self._held = None

    def row(self, row: dict[str, float]) -> None:
        """A row of progress.parquet."""
        self._emit({"row": row})


def main() -> int:
    """Write the policy of the run that the arguments name."""
    follow_parent()
    run = RunDir(Path(sys.argv[1]))
    config = configs.load(run)
    configs.reduce_envs(config, run)
    device = devices.claim(config.device)
    limit_threads(device)
    if config.algo in baselines.reference_names():
        from baselines.policy_file import export_reference

        export_reference(config.algo, tasks.get(config.task), run.policy)
    else:
        report = Reporter(sys.argv[2])
        try:
            return 0 if train(config, run, device, report) else STOPPED
        finally:
            report.flush()
    return 0


def train(config: DictConfig, run: RunDir, device: str, report: Reporter) -> bool:
    """Train to `config.train.env_steps` and export the policy, from the last checkpoint if there is one.

    At each checkpoint (`configs.checkpoints`) the state is saved and all envs start new episodes from a derived seed;
    so a run that was interrupted takes the same path as one that was not. The policy file is written last: where it
    exists, the training is done.

    Returns False if it was asked to stop (SIGTERM) and did so at a checkpoint.
    """
    from baselines.learner.learners import make_learner

    clock = Clock(device)
    env, teacher = (multitask.build if config.multi else _build)(config, device, clock.timed)
    env.step = _beating(env.step, report)
    identity = {key: config[key] for key in ("suite_version", "engine", "randomization")}
    identity |= {"curriculum": as_dict(config.curriculum, resolve=False), "device": env.device.type}
    learner = make_learner(config.algo, env, config.agent, config.seed, teacher, identity)
    if config.train.init:
        _warm_start(config, learner)
    if not _loop(config, run, report, learner, teacher, clock):
        return False
    if config.multi:
        multitask.export(learner, run)
    else:
        learner.export(run.policy)
    return True


def _beating(step: Callable[..., Any], report: Reporter) -> Callable[..., Any]:
    def beating(action: Any) -> Any:
        report.beat()
        return step(action)

    return beating


def _build(config: DictConfig, device: str, timed: Callable[[Sampler], Sampler]) -> tuple[TensorEnv, Teacher]:
    spec = tasks.get(config.task)
    env = spec.build(config.train.num_envs, device, config.engine)
    teacher = curricula.make(
        config.curriculum, spec, config.randomization, config.train.num_envs, env.device, config.seed
    )
    moving = [factor.name for factor in spec.factors if not factor.held_out]
    env.set_sampler(timed(teacher.sample), moving)
    return env, teacher


def _loop(
    config: DictConfig, run: RunDir, report: Reporter, learner: Learner, teacher: Teacher | Mix, clock: Clock
) -> bool:
    from curricula.mix import Mix
    from suite.execute.energy import Meter
    from suite.runs.grade_curve import Curve
    from suite.runs.recorder import Records

    total, checkpoints = config.train.env_steps, configs.checkpoints(config, tasks.get(config.task))
    file = run.file("checkpoint")
    _restore(config, learner, run)
    if isinstance(teacher, Mix):
        records, curve = multitask.MultiTaskRecords(run, learner.env_steps, total, teacher), None
    else:
        records = Records(run, learner.env_steps, total, teacher)
        curve = Curve(run, learner, teacher, clock.timed(teacher.sample)) if config.train.curve else None
    clock.seconds = records.progress.total("teacher_time_s")
    if curve and not learner.env_steps:
        curve.add(0.0, 0.0)
    rate = Rate(learner.env_steps)
    start, before = time.monotonic(), records.progress.total("wall_time_s")
    last_save = start
    meter = Meter(learner.env.device, records.progress.total("energy_j"))
    stop = StopRequest()
    while learner.env_steps < total:
        saved = learner.env_steps * checkpoints // total
        metrics, episodes = learner.iterate()
        clock.wait()
        clock.timed(teacher.update)(episodes)
        wall, speed = before + time.monotonic() - start, rate.update(learner.env_steps)
        row = {"env_steps": learner.env_steps, "wall_time_s": wall, "teacher_time_s": clock.seconds}
        row |= {"steps_per_s": speed, **metrics}
        if (joules := meter.lap()) is not None:
            row["energy_j"] = joules
        if whole := records.add(row, episodes):
            report.row(whole)
        report.status(
            "training",
            env_steps=learner.env_steps,
            steps_per_s=speed,
            return_mean=metrics["return_mean"],
            success_mean=metrics["success_mean"],
            eta_s=max(0, total - learner.env_steps) / speed,
            message="",
        )
        due = learner.env_steps * checkpoints // total > saved
        if due or time.monotonic() - last_save > SAVE_S:
            # Before the checkpoint: rows that it does not know of are dropped when it is restored.
            records.save()
            last_save = time.monotonic()
        if due and curve:
            report.status("training", message=f"evaluating the policy at {learner.env_steps} env steps")
            pause = time.monotonic()
            curve.add(wall, clock.seconds)
            start += time.monotonic() - pause  # not part of the training's time
            meter.skip()
            rate = Rate(learner.env_steps)
        if due:
            learner.checkpoint(file)
            if stop.came and learner.env_steps < total:
                return False
    return True


def _warm_start(config: DictConfig, learner: Learner) -> None:
    from baselines.learner import warm_start

    run = RunDir(Path(config.init))
    if initial_policy(run.path) != config.train.init:
        raise UserError(f"--init {run.path} has another policy now than when this training was planned")
    # Its statistics are of as many observations as it was trained on.
    result = run.read_result()
    if result is None:
        raise UserError(f"--init {run.path} is no longer complete")
    warm_start.load(learner, run.policy, result["env_steps"])


def _restore(config: DictConfig, learner: Learner, run: RunDir) -> None:
    """Go on from the last checkpoint, if that and the tables that go with it are whole."""
    from baselines.learner import checkpoint
    from suite.runs import grade_curve, recorder

    file = run.file("checkpoint")
    if not file.exists():
        return
    try:
        env_steps = checkpoint.env_steps(file)
        for own in (run, *(run.part(name) for name in _parts(config))):
            recorder.check(own.progress, env_steps)
            if own.path != run.path or not config.multi:
                recorder.check(own.curriculum, 0)  # rows come with episodes, so the last one may be long ago
        if config.train.curve:
            grade_curve.read(run.curve, env_steps)
        learner.restore(file)
        print(f"continuing from the checkpoint at {learner.env_steps} env steps", flush=True)
    except (checkpoint.CheckpointError, recorder.TableError) as error:
        print(f"starting afresh: {first_line(error)}", flush=True)


def _parts(config: DictConfig) -> list[str]:
    return [part.name for part in multitask.spec_of(config).parts] if config.multi else []


class Clock:
    """Adds up the seconds that some calls take: on a GPU those of the host, which is what steps wait for."""

    def __init__(self, device: str) -> None:
        """`device` is where the calls compute: `cpu` or `cuda:K`."""
        self._device, self.seconds = device, 0.0

    def wait(self) -> None:
        """Wait for the device, so that the next call is not charged with earlier work."""
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self._device)

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, timed."""

        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            result = call(*args)
            self.seconds += time.perf_counter() - start
            return result

        return timed


class Rate:
    """Env steps per second over the last `RATE_S` seconds."""

    def __init__(self, env_steps: int) -> None:
        """Counting starts at `env_steps`."""
        self._points = deque([(time.monotonic(), env_steps)])

    def update(self, env_steps: int) -> float:
        """The rate [1/s] now that `env_steps` are done."""
        now = time.monotonic()
        self._points.append((now, env_steps))
        while len(self._points) > 2 and now - self._points[1][0] > RATE_S:
            self._points.popleft()
        then, steps = self._points[0]
        return (env_steps - steps) / max(now - then, 1e-9)


if __name__ == "__main__":
    leave(main)
