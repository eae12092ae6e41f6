"""`reverse`: starts grow outward from the easiest one, through those that are sometimes but not always solved."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig

from curricula.space import Space
from curricula.teacher import Teacher
from curricula.window import Window, success_near

POOL = 1024
"""Points that are kept of the good starts now, and of those of earlier times."""


class Reverse(Teacher):
    """Reverse curriculum generation (Florensa et al. 2017, arXiv:1707.05300, algorithm 1).

    What differs from the paper: a start is a point of the parameter space and not a state of the simulator, so new
    ones come from a random step in that space and not from random actions; the easiest point (difficulty 0, nominal
    factors) stands for the goal that the paper starts from. As starts are continuous, the success at one is estimated
    from its nearest neighbours among the latest episodes. If all of them have been mastered, the next starts are steps
    away from any of them.
    """

    kept = ("pool", "archive", "archived", "fits")

    def __init__(self, space: Space, cfg: DictConfig, num_envs: int, seed: int) -> None:
        super().__init__(space, cfg, num_envs, seed)
        self.pool = space.origin.repeat(POOL, 1)
        self.archive = self.pool.clone()
        self.archived = 0  # rows of the archive ever written
        self.fits = 0
        self._window = Window(cfg.window, space.dim, space.device)

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Draw points [k, D]: a share from earlier good starts, the rest a random step away from the present ones."""
        k = len(env_ids)
        rows = (self.rand(k) * POOL).long().clamp_(max=POOL - 1)
        near = _fold(self.pool[rows] + self.cfg.noise * self.randn(k, self.space.dim))
        return torch.where(self.rand(k, 1) < self.cfg.replay, self.archive[rows], near)

    def learn(self, points: torch.Tensor, success: torch.Tensor, env_ids: torch.Tensor) -> None:
        """Keep the episodes, and choose new good starts after every window of them."""
        self._window.add(points, success)
        if self._window.count < (self.fits + 1) * self.cfg.window:
            return
        self.fits = self._window.count // self.cfg.window
        points, success = self._window.latest()
        rate = success_near(points, points, success, self.cfg.neighbours)
        # Picking rows by a condition waits for the device, which happens once per window.
        good = points[(rate >= self.cfg.demote) & (rate <= self.cfg.promote)]
        if not len(good):
            good = points[rate > self.cfg.promote]
        if not len(good):
            return  # all too hard: go on from the starts there are
        self.pool = good[(self.rand(POOL) * len(good)).long().clamp_(max=len(good) - 1)]
        new = self.pool[: POOL // 8]
        self.archive[(self.archived + torch.arange(len(new), device=new.device)) % POOL] = new
        self.archived += len(new)

    def report(self) -> dict[str, float]:
        """The mean of the good starts, in the units of each parameter."""
        means = self.space.values(self.pool.mean(dim=0)).tolist()
        return {f"pool_mean.{axis}": value for axis, value in zip(self.space.axes, means, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """The state, with the window of the latest episodes."""
        return super().state_dict() | {"window": self._window.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        super().load_state_dict(state)
        self._window.load_state_dict(state["window"])


def _fold(points: torch.Tensor) -> torch.Tensor:
    """Reflect at the faces of the unit cube: clamping would gather a random walk on them."""
    return (1.0 - (1.0 - points.abs()).abs()).clamp(0.0, 1.0)
