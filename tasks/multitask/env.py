"""`MultiTaskEnv`: the envs of several tasks as one batch for one agent."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import torch

from tasks.core import engines
from tasks.core.build import build
from tasks.core.env import Sampler, Step, TensorEnv
from tasks.core.success import at_any_time
from tasks.multitask.declare import MultiTaskSpec
from tasks.multitask.remote import RemoteEnv


class MultiTaskEnv(TensorEnv):
    """Rows of one env per task, side by side; see `tasks.multitask.declare` for the columns.

    The envs may have more rows than the batch: at each reset, `shares` says how many of each task take part, and the
    rest idle with zero actions until the next. `factors` are the task's index, the row in its env, and the task's own
    factors. `terminations` has `time_out` and `failed` only, `violations` nothing.

    Attributes:
        envs: one per task, in the order of `MultiTaskSpec.parts`.
        shares: gives the share [K] of the batch that each task gets from the next reset on; equal by default.
    """

    spec: MultiTaskSpec

    def __init__(
        self, spec: MultiTaskSpec, envs: Sequence[TensorEnv], num_envs: int, device: str | torch.device
    ) -> None:
        """`envs` have `num_envs` rows or more together."""
        super().__init__(spec, num_envs, device)
        self.envs = tuple(envs)
        self.shares: Callable[[], Sequence[float]] = lambda: [1.0 / len(self.envs)] * len(self.envs)
        self._rows = slice(None)  # of all rows of all envs, those that take part
        self._inputs = [torch.tensor(spec.obs_columns(k), device=self.device) for k in range(len(envs))]
        self._outputs = [torch.tensor(spec.action_columns(k), device=self.device) for k in range(len(envs))]
        self._empty, self._described = [], []
        for k, env in enumerate(envs):
            empty = torch.zeros(env.num_envs, spec.obs_dim, device=self.device)
            empty[:, spec.task_column(k)] = 1.0
            self._empty.append(empty)
            described = torch.zeros(env.num_envs, len(spec.factors), device=self.device)
            described[:, 0], described[:, 1] = k, torch.arange(env.num_envs)
            self._described.append(described)
        anytime = [torch.full((env.num_envs,), at_any_time(env.spec.success_when)) for env in envs]
        self._at_any_time = torch.cat(anytime).to(self.device)
        self._solved = torch.zeros(len(self._at_any_time), dtype=torch.bool, device=self.device)

    def set_samplers(self, samplers: Sequence[Sampler]) -> None:
        """Let each task's episodes be assigned by a sampler of its own, which gets the env ids of that task's env."""
        for env, sampler in zip(self.envs, samplers, strict=True):
            env.set_sampler(sampler, [factor.name for factor in env.spec.factors if not factor.held_out])

    def set_sampler(self, sampler: Sampler, moving: Collection[str] | None = None) -> None:
        """The same `sampler` for every task; it gets the env ids of that task's env."""
        for env in self.envs:
            env.set_sampler(sampler, moving)

    def _reset(self, seed: int | None) -> torch.Tensor:
        sizes = [env.num_envs for env in self.envs]
        if sum(sizes) > self.num_envs:
            begin, rows = 0, []
            for size, count in zip(sizes, allot(self.shares(), self.num_envs), strict=True):
                if count > size:
                    raise ValueError(f"{self.spec.name}: {count} envs for a task that has {size}")
                rows.append(torch.arange(begin, begin + count, device=self.device))
                begin += size
            self._rows = torch.cat(rows)
        self._solved.zero_()
        self.draws.begin(self._every)
        obs = [env.reset(seed) for env in self.envs]
        self._describe()
        return self._joined(obs)

    def _stagger(self, age: torch.Tensor) -> None:
        every = torch.zeros(len(self._solved), dtype=torch.long, device=self.device)
        every[self._rows] = age
        for env, own in zip(self.envs, every.split([env.num_envs for env in self.envs]), strict=True):
            env._stagger(own % env.spec.max_episode_steps)  # `age` goes up to the length of the longest task's

    def _step(self, action: torch.Tensor) -> Step:
        every = action
        if not isinstance(self._rows, slice):
            every = action.new_zeros(len(self._solved), action.shape[1]).index_copy_(0, self._rows, action)
        parts = every.split([env.num_envs for env in self.envs])
        actions = [part.index_select(1, columns) for part, columns in zip(parts, self._outputs, strict=True)]
        for env, own in zip(self.envs, actions, strict=True):
            if isinstance(env, RemoteEnv):
                env.begin(own)  # so that all of them step at the same time
        steps = [env.step(own) for env, own in zip(self.envs, actions, strict=True)]
        obs, reward, terminated, truncated, extras = zip(*steps, strict=True)
        reward, terminated, truncated = (torch.cat(x) for x in (reward, terminated, truncated))
        success = torch.cat([extra["success"] for extra in extras]) | self._solved
        self._solved = success & self._at_any_time & ~(terminated | truncated)
        self._describe()
        terminated, truncated = terminated[self._rows], truncated[self._rows]
        return (
            self._joined(obs),
            reward[self._rows],
            terminated,
            truncated,
            {
                "final_obs": self._joined([extra["final_obs"] for extra in extras]),
                "success": success[self._rows],
                "terminations": {"time_out": truncated, "failed": terminated},
                "violations": {},
            },
        )

    def _joined(self, obs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Observations of all tasks [N, obs_dim]."""
        parts = zip(self._empty, self._inputs, obs, strict=True)
        return torch.cat([empty.index_copy(1, columns, own) for empty, columns, own in parts])[self._rows]

    def _describe(self) -> None:
        """Take over what the episodes now running are."""
        for env, described in zip(self.envs, self._described, strict=True):
            described[:, 2 : 2 + env.factors.shape[1]] = env.factors
        self.difficulty = torch.cat([env.difficulty for env in self.envs])[self._rows]
        self.factors = torch.cat(self._described)[self._rows]

    def check(self) -> None:
        """See `TensorEnv.check`."""
        super().check()
        for env in self.envs:
            env.check()

    def overflows(self) -> int:
        """See `TensorEnv.overflows`."""
        return sum(env.overflows() for env in self.envs)

    def diverged(self) -> int:
        """See `TensorEnv.diverged`."""
        return sum(env.diverged() for env in self.envs)

    def close(self) -> None:
        """See `TensorEnv.close`."""
        for env in self.envs:
            env.close()


def allot(shares: Sequence[float], total: int) -> list[int]:
    """`total` rows by `shares` that sum to 1, by largest remainder."""
    wanted = [total * share for share in shares]
    counts = [int(want) for want in wanted]
    order = sorted(range(len(shares)), key=lambda k: counts[k] - wanted[k])
    for k in order[: total - sum(counts)]:
        counts[k] += 1
    return counts


def make_env(spec: MultiTaskSpec, num_envs: int, device: str, engine: str, largest: float = 0.0) -> MultiTaskEnv:
    """Build the envs of all tasks, each with room for a share of `largest` of the batch, an equal one at least.

    Isaac Lab has one simulation a process, so each task with a simulator gets a process of its own.
    """
    count = len(spec.parts)
    sizes = [math.ceil(largest * num_envs)] * count if largest * count > 1.0 else allot([1.0 / count] * count, num_envs)
    parts = zip(spec.parts, sizes, strict=True)
    if not engines.get(engine).simulator:
        envs = [build(part, size, device, engine) for part, size in parts]
    else:
        envs = [RemoteEnv(part, size, device, engine) for part, size in parts]
        for env in envs:
            env.wait()
    return MultiTaskEnv(spec, envs, num_envs, device)
