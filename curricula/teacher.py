"""The interface of a teacher, and the one that does not teach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, one row each; tensors [k] on the env's device.

    `factors` is [k, F], columns in the order of `TaskSpec.factors`. `success_once` and `success_at_end` are bool:
    success at any step, and at the last one. `env_steps` counts the env steps of the training when the rows were
    handed over.
    """

    env_ids: torch.Tensor
    difficulty: torch.Tensor
    factors: torch.Tensor
    returns: torch.Tensor
    lengths: torch.Tensor
    success_once: torch.Tensor
    success_at_end: torch.Tensor
    env_steps: int

    def success(self, when: str) -> torch.Tensor:
        """Success [k] by a task's rule, `TaskSpec.success_when`."""
        return self.success_at_end if when == "end" else self.success_once


class Teacher(ABC):
    """Assigns a difficulty to every episode that starts, and learns from those that finished."""

    @abstractmethod
    def sample(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Difficulty [k] in [0, 1] of the episodes that start now in `env_ids` [k]."""

    def update(self, episodes: Episodes) -> None:  # noqa: B027 (a teacher may ignore what happened)
        """Take in the episodes that finished since the last call."""

    def state_dict(self) -> dict[str, Any]:
        """All that `sample` depends on."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Continue from `state_dict()`."""


class FixedGrade(Teacher):
    """`none`: every episode at one difficulty."""

    def __init__(self, difficulty: float) -> None:
        """Take a `difficulty` in [0, 1]."""
        self.difficulty = difficulty

    def sample(self, env_ids: torch.Tensor) -> torch.Tensor:
        """See `Teacher.sample`."""
        return torch.full(env_ids.shape, self.difficulty, device=env_ids.device)
