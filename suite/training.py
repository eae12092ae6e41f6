"""Trains one run: from its configuration to `policy.safetensors`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig

import curricula
import tasks
from baselines.checkpoint import CheckpointError
from baselines.learner import Learner, make_learner
from suite.errors import first_line
from suite.recorder import Curriculum, Progress
from suite.rundir import RunDir
from suite.tracking import Tracker

SAVE_S = 10.0  # [s] between two writes of the tables
RATE_S = 5.0  # [s] over which the speed that is shown is averaged

Report = Callable[..., None]


def train(config: DictConfig, run: RunDir, tracker: Tracker, report: Report) -> None:
    """Train to `config.train.env_steps` and export the policy, from the last checkpoint if there is one.

    At each of `config.train.checkpoints` evenly spaced numbers of env steps the state is saved and all envs start new
    episodes from a derived seed; so a run that was interrupted takes the same path as one that was not. The policy
    file is written last: where it exists, the training is done.
    """
    spec = tasks.get(config.task)
    report("starting", message=f"starting {config.engine}")
    env = spec.build(config.train.num_envs, config.device, config.engine)
    teacher = curricula.make(config.curriculum.name, config.curriculum.grade)
    env.set_sampler(teacher.sample)
    identity = {key: config[key] for key in ("suite_version", "engine", "randomization")}
    identity |= {"curriculum": f"{config.curriculum.name} at {config.curriculum.grade}", "device": config.device}
    learner = make_learner(config.algo, env, config.agent, config.seed, teacher, identity)
    try:
        _loop(config, run, tracker, report, spec.success_when, learner, teacher)
        learner.export(run.policy)
    finally:
        env.close()


def _loop(
    config: DictConfig, run: RunDir, tracker: Tracker, report: Report, when: str, learner: Learner, teacher: Any
) -> None:
    total = config.train.env_steps
    file = run.checkpoint / "last.ckpt"
    if file.exists():
        try:
            learner.restore(file)
            print(f"continuing from the checkpoint at {learner.env_steps} env steps", flush=True)
        except CheckpointError as error:
            print(f"starting afresh: {first_line(error)}", flush=True)
    progress = Progress(run, learner.env_steps)
    curriculum = Curriculum(run, learner.env_steps, total, when)
    rate = Rate(learner.env_steps)
    start, before = time.monotonic(), progress.wall_time_s
    last_save = start
    while learner.env_steps < total:
        saved = learner.env_steps * config.train.checkpoints // total
        metrics, episodes = learner.iterate()
        teacher.update(episodes)
        curriculum.add(episodes)
        _wait_for(learner.env.device)
        wall, speed = before + time.monotonic() - start, rate.update(learner.env_steps)
        row = {"env_steps": learner.env_steps, "wall_time_s": wall, "steps_per_s": speed, **metrics}
        if whole := progress.add(row):
            tracker.log(whole)
        report(
            "training",
            env_steps=learner.env_steps,
            steps_per_s=speed,
            return_mean=metrics["return_mean"],
            success_mean=metrics["success_mean"],
            eta_s=max(0, total - learner.env_steps) / speed,
            message="",
        )
        due = learner.env_steps * config.train.checkpoints // total > saved
        if due or time.monotonic() - last_save > SAVE_S:
            # Before the checkpoint: rows that it does not know of are dropped when it is restored.
            progress.save()
            curriculum.save()
            last_save = time.monotonic()
        if due:
            learner.checkpoint(file)


class Rate:
    """Env steps per second over the last `RATE_S` seconds."""

    def __init__(self, env_steps: int) -> None:
        """Start counting at `env_steps`."""
        self._points = deque([(time.monotonic(), env_steps)])

    def update(self, env_steps: int) -> float:
        """The rate [1/s] now that `env_steps` are done."""
        now = time.monotonic()
        self._points.append((now, env_steps))
        while len(self._points) > 2 and now - self._points[1][0] > RATE_S:
            self._points.popleft()
        then, steps = self._points[0]
        return (env_steps - steps) / max(now - then, 1e-9)


def _wait_for(device: torch.device) -> None:
    """Let wall times mean what they say: CUDA works behind the caller's back. Once an iteration costs nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
