"""The grade parameters of many envs at once."""

from __future__ import annotations

import torch

from tasks.spec import TaskSpec


class Grades:
    """All parameters that a task's grades move, in few operations.

    Attributes:
        names: of the P parameters, as declared.
    """

    def __init__(self, spec: TaskSpec, device: torch.device) -> None:
        """Put the ramps of `GradeParam.at` on the device."""
        self.names = list(spec.grades)
        values = torch.tensor([grade.values for grade in spec.grades.values()], dtype=torch.float64)
        self._first = values[:, 0].to(device, torch.float32)
        self._rises = values.diff(dim=1).T.to(device, torch.float32)  # [rungs, P]
        self._rungs = torch.arange(len(self._rises), device=device)

    def at(self, difficulty: torch.Tensor) -> torch.Tensor:
        """Values [k, P] at `difficulty` [k], to the last bit those of `GradeParam.at`."""
        ramps = (difficulty[:, None] * len(self._rungs) - self._rungs).clamp(0.0, 1.0)
        value = self._first
        for rise in (ramps[..., None] * self._rises).unbind(dim=1):
            value = value + rise
        return value
