"""`TensorEnv`: the contract between a task and an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from tasks.spec import TaskSpec

DifficultySampler = Callable[[torch.Tensor], torch.Tensor]
"""Given env ids [k], the difficulty [k] in [0, 1] of the episodes that start in them now."""


class TensorEnv(ABC):
    """A batch of envs that step together; everything is a tensor on the env's device, batch first.

    Reset is same-step: the observation of a row that ended is already the first one of its next episode, and
    `extras["final_obs"]` has the true last one. Returned tensors may be overwritten by the next `step`.

    Attributes:
        spec: the task's declaration.
        num_envs: N, rows of every tensor.
        device: where the tensors live.
        observation_space: `Box` of shape (obs_dim,), unbounded.
        action_space: `Box` [-1, 1] of shape (action_dim,).
        difficulty: [N] float, of the episodes now running.
    """

    def __init__(self, spec: TaskSpec, num_envs: int, device: str | torch.device) -> None:
        """Set the spaces and start at difficulty 0 everywhere."""
        self.spec, self.num_envs, self.device = spec, num_envs, torch.device(device)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (spec.obs_dim,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (spec.action_dim,), np.float32)
        self.difficulty = torch.zeros(num_envs, device=self.device)
        self._sampler: DifficultySampler = lambda env_ids: self.difficulty[env_ids]
        self._held = torch.zeros(num_envs, dtype=torch.long, device=self.device)

    def set_sampler(self, sampler: DifficultySampler) -> None:
        """Let `sampler` assign the difficulty of every episode that starts from now on."""
        self._sampler = sampler

    def _assign_difficulty(self, env_ids: torch.Tensor) -> None:
        """Called by implementations at the reset of `env_ids` [k], before any term reads the difficulty."""
        self.difficulty[env_ids] = self._sampler(env_ids).to(self.difficulty)
        self._held[env_ids] = 0

    def _hold(self, condition: torch.Tensor) -> torch.Tensor:
        """Success now [N]: `condition` has held for the declared time without a break. Call once a step."""
        self._held = torch.where(condition, self._held + 1, 0)
        return self._held >= self.spec.success_hold_steps

    @abstractmethod
    def reset(self, seed: int | None = None) -> torch.Tensor:
        """Start a new episode in every row and return obs [N, obs_dim]. One seed, one sequence of episodes."""

    @abstractmethod
    def step(
        self, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Advance one control step with action [N, action_dim], within the action space.

        Returns obs [N, obs_dim], reward [N], terminated [N] bool, truncated [N] bool, and extras:
        `final_obs` [N, obs_dim] (valid in rows that ended), `success` [N] bool (after this step, before any
        reset), `difficulty` [N] (of the episode this step belongs to), `factors` (name to [N]),
        `terminations` (name to [N] bool: which condition ended the row, `time_out` included) and `violations`
        (name of a safety limit to [N] bool: crossed in this step).
        """

    @abstractmethod
    def close(self) -> None:
        """Release the simulator. The env must not be used afterwards."""
