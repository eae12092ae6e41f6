"""The batched torch implementation of `toy-reach` and `toy-line`."""

from __future__ import annotations

from typing import Protocol

import torch

from tasks.core import engines
from tasks.core.draws import direction
from tasks.core.episodes import EpisodeEnv, Outcome
from tasks.spec import TaskSpec

ARENA = 2.0  # [m] half width
ACCELERATION = 4.0  # [m/s²] at full action


class Integrator(Protocol):
    """What the toy tasks ask of their engine."""

    def __call__(
        self, position: torch.Tensor, velocity: torch.Tensor, acceleration: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Position [m] and velocity [m/s] after `dt` [s], all [N, axes]."""
        ...


def semi_implicit(
    position: torch.Tensor, velocity: torch.Tensor, acceleration: torch.Tensor, dt: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The engine `torch`: semi-implicit Euler, the velocity first."""
    velocity = velocity + acceleration * dt
    return position + velocity * dt, velocity


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> ToyReach:
    """Build the toy env on `torch` or on another engine without a simulator."""
    return ToyReach(spec, num_envs, device, engines.get(engine).load())


class ToyReach(EpisodeEnv):
    """State per row: position [m], velocity [m/s], goal [m], along the axes that the actions push along."""

    def __init__(
        self, spec: TaskSpec, num_envs: int, device: str | torch.device, integrate: Integrator = semi_implicit
    ) -> None:
        """Build `num_envs` rows on `device`."""
        super().__init__(spec, num_envs, device)
        self._integrate = integrate
        self._position, self._velocity, self._goal = torch.zeros(
            3, num_envs, spec.action_dim, device=self.device
        ).unbind()
        self._steps = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self._east = torch.eye(spec.action_dim, device=self.device)[0]

    def _observe(self) -> torch.Tensor:
        return torch.cat((self._position, self._velocity, self._goal - self._position), dim=-1)

    def _place(self, env_ids: torch.Tensor) -> None:
        angle = torch.pi * self.draws.within("direction")
        # At least 60 % of the largest distance: the goal is outside the start's neighbourhood at every grade.
        radius = self.spec.grades["distance"].at(self.difficulty) * (0.8 + 0.2 * self.draws.within("distance"))
        goal = radius[:, None] * (angle.sign()[:, None] if self.spec.action_dim == 1 else direction(angle))
        start = 0.1 * self.draws.within("position", self.spec.action_dim)
        for state, new in ((self._position, start), (self._velocity, torch.zeros_like(start)), (self._goal, goal)):
            state[env_ids] = new[env_ids]
        self._steps[env_ids] = 0

    def _reset(self, seed: int | None) -> torch.Tensor:
        self._begin(torch.arange(self.num_envs, device=self.device))
        return self._look()

    def _set_age(self, age: torch.Tensor) -> None:
        self._steps.copy_(age)

    def _advance(self, action: torch.Tensor) -> tuple[Outcome, torch.Tensor]:
        dt = self.spec.control_dt
        force = ACCELERATION * action.clamp(-1.0, 1.0) - self.factor("drag")[:, None] * self._velocity
        force = force + self.factor("wind")[:, None] * self._east
        acceleration = force / self.factor("mass")[:, None]
        self._position, self._velocity = self._integrate(self._position, self._velocity, acceleration, dt)
        self._steps += 1
        distance = (self._goal - self._position).norm(dim=-1)
        speed = self._velocity.norm(dim=-1)
        reward = torch.exp(-4.0 * distance) - 0.1 * distance - 0.02 * speed
        success = self._hold(distance < self.spec.grades["tolerance"].at(self.difficulty))
        terminated = self._position.abs().amax(dim=-1) > ARENA
        truncated = (self._steps >= self.spec.max_episode_steps) & ~terminated
        terminations = {"time_out": truncated, "left_arena": terminated}
        ended = (terminated | truncated).nonzero().squeeze(-1)
        return Outcome(reward, terminated, truncated, success, terminations, {}), ended

    def close(self) -> None:
        """Nothing to release."""
