"""The curve by grade: how the policy of each checkpoint does on every grade, found without leaving the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from baselines.learner.checkpoint import random_state, set_random_state
from baselines.policy_file import load_policy
from suite.runs.recorder import TableError, rows_of
from suite.runs.rundir import RunDir, atomic
from tasks.core.success import succeeded as rule
from tasks.spec import GRADES, difficulty_of

if TYPE_CHECKING:
    from baselines.learner.learners import Learner
    from baselines.policy_file import Policy
    from curricula.teacher import Teacher
    from tasks.core.env import Sampler, TensorEnv

SEED = 3_000_017
"""Where the draws start, for every run and checkpoint; the protocol's evaluation has another seed."""

_SCHEMA = pa.schema(
    [
        ("env_steps", pa.int64()),
        *((name, pa.float64()) for name in ("wall_time_s", "teacher_time_s")),
        ("grade", pa.string()),
        ("episodes", pa.int64()),
        *((name, pa.float64()) for name in ("success", "return_mean")),
    ]
)


class Curve:
    """Keeps `curve.parquet`: a row per grade and checkpoint, and per grade before the training."""

    def __init__(self, run: RunDir, learner: Learner, teacher: Teacher, sampler: Sampler) -> None:
        """Continue the run's table where the learner stands; `sampler` is put back after every evaluation."""
        self._run, self._learner, self._teacher, self._sampler = run, learner, teacher, sampler
        self._rows: list[dict[str, Any]] = []
        if learner.env_steps:
            self._rows = read(run.curve, learner.env_steps)

    def add(self, wall_time_s: float, teacher_time_s: float) -> None:
        """Evaluate the policy as it is now. The envs have to be reset after it; no random number is used up.

        Neither the agent nor the teacher sees anything of these episodes.
        """
        learner, env = self._learner, self._learner.env
        state = random_state(env.device)
        file = self._run.path / ".probe.safetensors"
        learner.export(file)
        policy = load_policy(file, env.device)
        file.unlink()
        env.set_sampler(_by_grade(env, self._teacher.space.hands_out_factors))
        success, returns = first_episodes(env, policy, SEED)
        env.set_sampler(self._sampler)
        set_random_state(state, env.device)
        grades = _grades(env.num_envs)
        for index, grade in enumerate(GRADES):
            here = grades == index
            self._rows.append(
                {
                    "env_steps": learner.env_steps,
                    "wall_time_s": wall_time_s,
                    "teacher_time_s": teacher_time_s,
                    "grade": grade,
                    "episodes": int(here.sum()),
                    "success": success[here].mean().item(),
                    "return_mean": returns[here].mean().item(),
                }
            )
        table = pa.Table.from_pylist(self._rows, schema=_SCHEMA)
        atomic(self._run.curve, lambda temporary: pq.write_table(table, temporary))


def read(path: Path, env_steps: int) -> list[dict[str, Any]]:
    """Rows of `curve.parquet` up to the checkpoint at `env_steps`, its own too. Raises `TableError` if some lack."""
    rows = [row for row in rows_of(path, _SCHEMA) if row["env_steps"] <= env_steps]
    if not rows or rows[-1]["env_steps"] < env_steps:
        raise TableError(f"{path.name} ends before the checkpoint, at {env_steps} env steps")
    return rows


def first_episodes(env: TensorEnv, policy: Policy, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Success (0.0 or 1.0) and return of the first episode of every row [N], on the CPU.

    An episode that does not end in the declared time has failed. Waits for the device once.
    """
    obs = env.reset(seed)
    done, once, succeeded = torch.zeros(3, env.num_envs, dtype=torch.bool, device=env.device).unbind()
    returns = torch.zeros(env.num_envs, dtype=torch.double, device=env.device)
    for _ in range(env.spec.max_episode_steps + 1):
        with torch.no_grad():
            obs, reward, terminated, truncated, extras = env.step(policy(obs))
        ended = (terminated | truncated) & ~done
        returns += torch.where(done, 0.0, reward)
        once = once | (extras["success"] & ~done)
        now = rule(once, extras["success"], env.spec.success_when)
        succeeded = torch.where(ended, now, succeeded)
        done = done | ended
    return succeeded.double().cpu(), returns.cpu()


def _grades(num_envs: int) -> torch.Tensor:
    """Index of the grade of every row [N]: equally many of each, as far as they go, in turn."""
    return torch.arange(num_envs) % len(GRADES)


def _by_grade(env: TensorEnv, with_factors: bool) -> Sampler:
    difficulty = torch.tensor([difficulty_of(grade) for grade in GRADES])[_grades(env.num_envs)].to(env.device)
    nominal = torch.tensor([factor.nominal for factor in env.spec.factors], device=env.device)
    if with_factors:  # the training's would stay otherwise
        return lambda env_ids: (difficulty[env_ids], nominal.expand(len(env_ids), -1))
    return lambda env_ids: difficulty[env_ids]
