"""An env that costs next to nothing to step: what remains is the learner's own time."""

from __future__ import annotations

import torch

from tasks.core.env import TensorEnv
from tasks.spec import GradeParam, TaskSpec, Term

SPEC = TaskSpec(
    name="trivial",
    summary="Random observations; episodes end by the time limit, in another step for every row.",
    robot="none",
    engines=("torch",),
    make_env="benchmarks.trivial_env:make_env",
    observations=(Term("noise", 48, "1"),),
    actions=(Term("ignored", 12, "1"),),
    physics_dt=0.02,
    decimation=1,
    episode_length_s=10.0,
    success="never",
    success_hold_s=0.02,
    success_when="end",
    grades={"unused": GradeParam((0.0, 0.0, 0.0, 0.0, 0.0), "1", "nothing depends on it")},
    budgets={"smoke": 1, "quick": 1, "full": 1},
)
_POOL = 16  # different observations


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> TrivialEnv:
    """Build it; `engine` is ignored."""
    return TrivialEnv(spec, num_envs, device)


class TrivialEnv(TensorEnv):
    """Like Isaac Lab's envs it overwrites what it returned before."""

    def __init__(self, spec: TaskSpec, num_envs: int, device: str | torch.device) -> None:
        """Draw all observations and rewards once."""
        super().__init__(spec, num_envs, device)
        draw = torch.Generator(self.device).manual_seed(0)
        self._pool = torch.randn(_POOL, num_envs, spec.obs_dim, generator=draw, device=self.device)
        self._reward = torch.randn(num_envs, generator=draw, device=self.device)
        self._start = torch.randint(spec.max_episode_steps, (num_envs,), generator=draw, device=self.device)
        self._never = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self._obs = self._pool[0].clone()

    def _reset(self, seed: int | None) -> torch.Tensor:
        self._count = 0
        self._age = self._start.clone()
        self._obs.copy_(self._pool[0])
        return self._obs

    def _stagger(self, age: torch.Tensor) -> None:
        self._age.copy_(age)

    def _step(self, action: torch.Tensor):
        self._count += 1
        self._age += 1
        truncated = self._age >= self.spec.max_episode_steps
        self._age.masked_fill_(truncated, 0)
        self._obs.copy_(self._pool[self._count % _POOL])
        extras = {
            "final_obs": self._obs,
            "success": self._never,
            "terminations": {"time_out": truncated},
        }
        return self._obs, self._reward, self._never, truncated, extras

    def close(self) -> None:
        """Nothing to release."""
