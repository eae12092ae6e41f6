"""Randomisation levels: which values of the factors a training sees."""

from __future__ import annotations

import torch

from curricula.teacher import Teacher
from tasks.spec import TaskSpec


class LevelSampler:
    """The sampler of an env: difficulty from a teacher, factors uniform within the ranges of a level.

    What the level does not move is nominal, held-out factors always. At `r0` nothing moves, and no factors are
    handed over at all. Draws come from the device's global generator, which checkpoints hold.
    """

    def __init__(self, teacher: Teacher, spec: TaskSpec, level: str, device: torch.device) -> None:
        """Look the level's ranges up."""
        ranges = [factor.ranges.get(level, (factor.nominal, factor.nominal)) for factor in spec.factors]
        self._teacher = teacher
        self._moves = any(level in factor.ranges for factor in spec.factors)
        self._low, self._high = torch.tensor(ranges, device=device).reshape(-1, 2).T

    def __call__(self, env_ids: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """See `tasks.env.Sampler`."""
        difficulty = self._teacher.sample(env_ids)
        if not self._moves:
            return difficulty
        draw = torch.rand(len(env_ids), len(self._low), device=self._low.device)
        return difficulty, self._low + draw * (self._high - self._low)
