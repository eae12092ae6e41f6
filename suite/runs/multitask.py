"""One policy for several tasks: what of a run is there once per task.

Its run directory has a whole run directory per task in `tasks/<task>/`, with the policy as that task alone sees it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig

import curricula
import tasks
from suite.runs.rundir import RunDir, atomic, sha256
from tasks.core.settings import merged
from tasks.multitask.declare import MultiTaskSpec
from tasks.spec import GRADES, TaskSpec

if TYPE_CHECKING:
    from baselines.learner.learners import Learner
    from curricula.episodes import Episodes
    from curricula.mix import Mix
    from suite.runs.recorder import Row
    from tasks.core.env import Sampler
    from tasks.multitask.env import MultiTaskEnv


def spec_of(config: DictConfig) -> MultiTaskSpec:
    """The set of tasks that a run is trained on. Raises `TypeError` for a run on one task."""
    return as_multi_task(tasks.get(config.task))


def as_multi_task(spec: TaskSpec) -> MultiTaskSpec:
    """`spec`, which has to be of several tasks. Raises `TypeError` for one task."""
    if not isinstance(spec, MultiTaskSpec):
        raise TypeError(f"{spec.name} is one task")
    return spec


def parts(config: DictConfig, run: RunDir) -> Iterator[tuple[DictConfig, RunDir]]:
    """The run of each task: its configuration, which names the task alone, and its directory."""
    for spec in spec_of(config).parts:
        yield merged(config, {"task": spec.name}), run.part(spec.name)


def build(config: DictConfig, device: str, timed: Callable[[Sampler], Sampler]) -> tuple[MultiTaskEnv, Mix]:
    """The multi-task env, and a teacher per task in a mix. `timed` wraps what the env calls of a teacher."""
    from curricula.mix import Mix
    from tasks.multitask.env import allot, make_env

    spec, cfg = spec_of(config), config.multi
    count = len(spec.parts)
    largest = 0.0 if cfg.mix == "uniform" else cfg.floor / count + 1.0 - cfg.floor
    env = make_env(spec, config.train.num_envs, device, config.engine, largest)
    teachers = []
    for k, own in enumerate(env.envs):
        seed = int(np.random.SeedSequence((config.seed, k)).generate_state(1)[0])
        args = (own.spec, config.randomization, own.num_envs, env.device, seed)
        teachers.append(curricula.make(config.curriculum, *args))
    mix = Mix(teachers, cfg)
    env.set_samplers([timed(teacher.sample) for teacher in teachers])

    def shares() -> list[float]:
        dealt = mix.shares()
        for teacher, rows in zip(teachers, allot(dealt, config.train.num_envs), strict=True):
            teacher.playing = rows
        return dealt

    env.shares = shares
    return env, mix


class MultiTaskRecords:
    """`suite.runs.recorder.Records` of each task, and the progress of the whole with success and share by task."""

    def __init__(self, run: RunDir, env_steps: int, total_env_steps: int, mix: Mix) -> None:
        """Continue all tables where they stood at `env_steps`."""
        from suite.runs.recorder import Progress, Records

        self.progress, self._mix = Progress(run, env_steps), mix
        self._parts = {}
        for teacher in mix.teachers:
            part = run.part(teacher.space.task)
            part.path.mkdir(parents=True, exist_ok=True)
            self._parts[teacher.space.task] = Records(part, env_steps, total_env_steps, teacher)

    def add(self, row: Row, episodes: Episodes) -> Row | None:
        """Take in an iteration, its row and its episodes; returns the row of the whole that it completed, if any."""
        from baselines.data.episodes import summary

        times = ("env_steps", "wall_time_s", "teacher_time_s", "steps_per_s")
        for teacher, own in zip(self._mix.teachers, self._mix.split(episodes), strict=True):
            of_task = summary(own, teacher.space.success_when)
            self._parts[teacher.space.task].add({key: row[key] for key in times} | of_task, own)
            row[f"success_mean.{teacher.space.task}"] = of_task["success_mean"]
        row |= {f"share.{task}": share for task, share in zip(self._parts, self._mix.dealt, strict=True)}
        return self.progress.add(row)

    def save(self) -> None:
        """Write all tables."""
        self.progress.save()
        for records in self._parts.values():
            records.save()


def export(learner: Learner, run: RunDir) -> None:
    """Write the policy of each task, then the one for all, whose existence says that the training is done."""
    from baselines.policy_file import specialise

    spec = as_multi_task(learner.env.spec)
    file = run.checkpoint / "policy.safetensors"
    learner.export(file)
    for k, part in enumerate(spec.parts):
        specialise(file, spec, k, run.part(part.name).policy)
    os.replace(file, run.policy)


def outcome(results: list[dict[str, Any]], run: RunDir) -> dict[str, Any]:
    """What result.json of the whole run says of the episodes, given the results of its tasks; writes episodes.parquet.

    Success and return are means over the tasks.
    """
    tables = [pq.read_table(run.part(result["task"]).episodes) for result in results]
    table = pa.concat_tables(tables, promote_options="default")
    atomic(run.episodes, lambda temporary: pq.write_table(table, temporary))
    means = {
        key: {grade: float(np.mean([result[key][grade] for result in results])) for grade in GRADES}
        for key in ("success", "return")
    }
    return means | {
        "episodes": {grade: sum(result["episodes"][grade] for result in results) for grade in GRADES},
        "tasks": {result["task"]: result["success"] for result in results},
        "evaluation_time_s": sum(result["evaluation_time_s"] for result in results),
        "episodes_sha256": sha256(run.episodes),
    }
