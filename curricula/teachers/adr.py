"""`adr`: a range per parameter that grows and shrinks with the success at its boundaries."""

from __future__ import annotations

import torch
from omegaconf import DictConfig

from curricula.space import Space
from curricula.teacher import Teacher

AT_BOUNDARY = 1e-4
"""Of the whole range: what an env makes of a boundary value is that value up to rounding."""


class AutomaticRandomization(Teacher):
    """Automatic domain randomisation (OpenAI et al. 2019, arXiv:1910.07113, section 5 and algorithm 1).

    All ranges start at the easiest point, difficulty 0 and nominal factors. An episode is either uniform within the
    ranges or, with `boundary_probability`, has one parameter at one of its two boundaries.

    What differs from the paper: performance is success and not the number of goals reached; which boundary an episode
    was at is read from its parameters, so that one at several counts for each of them, and one whose boundary has moved
    since it began counts for none; the difficulty, for which nothing lies below 0, only grows upward.
    """

    kept = ("low", "high", "episodes", "successes")

    def __init__(self, space: Space, cfg: DictConfig, num_envs: int, seed: int) -> None:
        super().__init__(space, cfg, num_envs, seed)
        self.low, self.high = space.origin.clone(), space.origin.clone()
        self.episodes, self.successes = torch.zeros(2, 2, space.dim, device=space.device).unbind()  # [low/high, D]

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Draw points [k, D] uniformly within the ranges, some with one parameter at a boundary."""
        k, dim = len(env_ids), self.space.dim
        points = self.low + self.rand(k, dim) * (self.high - self.low)
        at = self.rand(k) < self.cfg.boundary_probability
        choice = (self.rand(k) * 2 * dim).long().clamp_(max=2 * dim - 1)
        axis = (choice // 2)[:, None]
        boundary = torch.where(choice % 2 == 0, self.low[axis[:, 0]], self.high[axis[:, 0]])
        return points.scatter(1, axis, torch.where(at, boundary, points.gather(1, axis)[:, 0])[:, None])

    def learn(self, points: torch.Tensor, success: torch.Tensor, env_ids: torch.Tensor) -> None:
        """Count the episodes at each boundary, and move a boundary after a full window of them."""
        cfg, origin = self.cfg, self.space.origin
        bounds = torch.stack((self.low, self.high))  # [2, D]
        at = ((points[:, None] - bounds).abs() < AT_BOUNDARY).to(success.dtype)  # [k, 2, D]
        self.episodes += at.sum(dim=0)
        self.successes += (at * success[:, None, None]).sum(dim=0)
        judged = self.episodes >= cfg.window
        rate = self.successes / self.episodes.clamp(min=1.0)
        move = cfg.step * ((judged & (rate >= cfg.promote)).float() - (judged & (rate <= cfg.demote)).float())
        self.low = (self.low - move[0]).clamp(min=0.0).minimum(origin)
        self.high = (self.high + move[1]).clamp(max=1.0).maximum(origin)
        self.episodes = self.episodes.masked_fill(judged, 0.0)
        self.successes = self.successes.masked_fill(judged, 0.0)

    def report(self) -> dict[str, float]:
        """The two ends of each parameter's range."""
        ends = torch.stack((self.space.values(self.low), self.space.values(self.high))).tolist()
        return {
            f"range_{name}.{axis}": value
            for name, values in zip(("low", "high"), ends, strict=True)
            for axis, value in zip(self.space.axes, values, strict=True)
        }
