"""What a teacher learns from: finished episodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tasks.core.success import succeeded


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, one row each, in the order of time; tensors [k] on the env's device.

    `factors` is [k, F], columns in the order of `TaskSpec.factors`. `success_once` and `success_at_end` are bool:
    success at any step, and at the last one. `env_steps` counts the env steps of the training when the rows were
    handed over. `advantage` is the mean absolute advantage over an episode's steps, for teachers that ask for it.
    """

    env_ids: torch.Tensor
    difficulty: torch.Tensor
    factors: torch.Tensor
    returns: torch.Tensor
    lengths: torch.Tensor
    success_once: torch.Tensor
    success_at_end: torch.Tensor
    env_steps: int
    advantage: torch.Tensor | None = None

    def success(self, when: str) -> torch.Tensor:
        """Success [k] by a task's rule, `TaskSpec.success_when`."""
        return succeeded(self.success_once, self.success_at_end, when)
