"""The two teachers that learn nothing, which the others are compared with."""

from __future__ import annotations

import torch

from curricula.teacher import Teacher
from tasks.spec import difficulty_of


class FixedGrade(Teacher):
    """`none`: every episode at one grade, factors by the randomisation level."""

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """The difficulty of the grade, for all of them [k, 1]."""
        return torch.full((len(env_ids), 1), difficulty_of(self.cfg.grade), device=self.space.device)


class Uniform(Teacher):
    """`uniform`: anywhere with equal probability, as in domain randomisation (Tobin et al. 2017, arXiv:1703.06907)."""

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Draw points [k, D] uniformly."""
        return self.rand(len(env_ids), self.space.dim)
