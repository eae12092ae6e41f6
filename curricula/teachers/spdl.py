"""`spdl`: a Gaussian that moves from the easiest point to the target as fast as success allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from scipy.optimize import minimize

from curricula.space import Space
from curricula.teacher import Teacher

TOLERANCE = 1.1
"""A solution may exceed the allowed divergence by the optimiser's precision, but not by more than this factor."""


class SelfPaced(Teacher):
    """Self-paced learning (Klink et al. 2021, arXiv:2102.13176, algorithm 1 with a performance constraint).

    Where the distribution keeps `success`, it moves to the target as far as the success that is expected there stays
    above it: the divergence from the target is minimised. Where it does not, success is maximised. Either way it stays
    within `divergence` of the distribution before. Success elsewhere is expected by importance weights.

    What differs from the paper: axes are independent (no covariance); success takes the place of the value function;
    the target has the moments of the uniform distribution over the whole range. Points outside the range are put on its
    border, as in the authors' code. The fit is one small problem for scipy's SLSQP, for which the latest `fit_every`
    episodes are copied to the host.
    """

    kept = ("mean", "std", "points", "success", "fits")

    def __init__(self, space: Space, cfg: DictConfig, num_envs: int, seed: int) -> None:
        super().__init__(space, cfg, num_envs, seed)
        self.mean = space.origin.clone()
        self.std = torch.full_like(self.mean, cfg.initial_std)
        self.points = torch.zeros(0, space.dim, device=space.device)  # since the last fit
        self.success = torch.zeros(0, device=space.device)
        self.fits = 0

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Draw points [k, D] from the Gaussian, clamped to the unit cube."""
        return (self.mean + self.std * self.randn(len(env_ids), self.space.dim)).clamp(0.0, 1.0)

    def learn(self, points: torch.Tensor, success: torch.Tensor, env_ids: torch.Tensor) -> None:
        """Keep the episodes, and move the Gaussian after every `fit_every` of them."""
        latest = -self.cfg.fit_every
        self.points = torch.cat((self.points, points))[latest:]
        self.success = torch.cat((self.success, success))[latest:]
        if len(self.success) < self.cfg.fit_every:
            return
        state = torch.stack((self.mean, self.std)).double().cpu().numpy()
        mean, std = step(*state, self.points.double().cpu().numpy(), self.success.double().cpu().numpy(), self.cfg)
        self.mean = torch.from_numpy(mean).to(self.mean)
        self.std = torch.from_numpy(std).to(self.std)
        self.points, self.success = self.points[:0], self.success[:0]
        self.fits += 1

    def report(self) -> dict[str, float]:
        """The Gaussian's mean and standard deviation, in the units of each parameter."""
        low, high = self.space.low, self.space.high
        values = torch.stack((low + self.mean * (high - low), self.std * (high - low))).tolist()
        return {
            f"{name}.{axis}": value
            for name, row in zip(("mean", "std"), values, strict=True)
            for axis, value in zip(self.space.axes, row, strict=True)
        }


def step(
    mean: np.ndarray, std: np.ndarray, points: np.ndarray, success: np.ndarray, cfg: DictConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The next mean and standard deviation [D], given episodes at `points` [n, D] drawn from the ones before."""
    dim = len(mean)
    old = np.concatenate((mean, np.log(std)))
    target = np.concatenate((np.full(dim, cfg.target_mean), np.full(dim, np.log(cfg.target_std))))
    limit, wanted = cfg.divergence, cfg.success

    @_remembered
    def expected(x: np.ndarray) -> tuple[float, np.ndarray]:
        """Success under x by importance weights, and its gradient."""
        z, z_old = (points - x[:dim]) / np.exp(x[dim:]), (points - mean) / std
        log_ratio = 0.5 * (z_old**2 - z**2).sum(axis=1) - (x[dim:] - old[dim:]).sum()
        weighted = np.exp(np.minimum(log_ratio, 20.0)) * success / len(success)
        return weighted.sum(), np.concatenate((weighted @ (z / np.exp(x[dim:])), weighted @ (z**2 - 1.0)))

    moved = _remembered(lambda x: divergence(x, old))
    near = {"type": "ineq", "fun": lambda x: limit - moved(x)[0], "jac": lambda x: -moved(x)[1]}
    keeps = {"type": "ineq", "fun": lambda x: expected(x)[0] - wanted, "jac": lambda x: expected(x)[1]}
    solvable = success.mean() >= wanted
    solution = minimize(
        (lambda x: divergence(x, target)) if solvable else (lambda x: tuple(-part for part in expected(x))),
        old,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * dim + [(np.log(cfg.minimum_std), 0.0)] * dim,
        constraints=[near, keeps] if solvable else [near],
        options={"maxiter": 50},
    ).x
    if not np.isfinite(solution).all() or divergence(solution, old)[0] > TOLERANCE * limit:
        return mean, std
    return solution[:dim], np.exp(solution[dim:])


def _remembered(function: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """`function`, which knows its latest answer: the optimiser asks for a value and then for its gradient."""
    asked, answer = None, None

    def ask(x: np.ndarray) -> Any:
        nonlocal asked, answer
        if asked is None or not np.array_equal(x, asked):
            asked, answer = x.copy(), function(x)
        return answer

    return ask


def divergence(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Kullback-Leibler divergence [nats] of the Gaussian x (means, then log deviations) from y, and its gradient."""
    (mean, log_std), (other, other_log_std) = np.split(x, 2), np.split(y, 2)
    ratio, apart = np.exp(2 * (log_std - other_log_std)), (mean - other) / np.exp(other_log_std)
    value = (other_log_std - log_std + 0.5 * (ratio + apart**2 - 1.0)).sum()
    return value, np.concatenate((apart / np.exp(other_log_std), ratio - 1.0))
