"""`alp_gmm`: a Gaussian mixture over where success changes fastest, for better or for worse."""

from __future__ import annotations

import math
from typing import Any

import torch
from omegaconf import DictConfig

from curricula.space import Space
from curricula.teacher import Teacher, draw
from curricula.window import Window, success_near

FLOOR = 1e-4
"""Added to the variance along every axis, so that a component over equal points has a density."""


class LearningProgress(Teacher):
    """ALP-GMM (Portelas et al. 2019, arXiv:1910.07224, algorithm 1).

    A Gaussian mixture is fitted to (point, absolute learning progress) of the latest episodes; a component is drawn in
    proportion to its mean progress, and a point from it; a share `random` of the episodes is uniform.

    What differs from the paper: it compares the return of an episode with that of the nearest earlier one, which for
    a success of 0 or 1 is mostly noise. Here the progress at a point is the difference between the mean success of its
    neighbours in the newer and in the older half of the window. Window and rhythm are those of thousands of envs, and
    the mixtures that compete by Akaike's criterion are fitted together as one batch.
    """

    kept = ("cdf", "means", "scales", "fits", "fitted_at")

    def __init__(self, space: Space, cfg: DictConfig, num_envs: int, seed: int) -> None:
        super().__init__(space, cfg, num_envs, seed)
        self.cdf = torch.ones(cfg.components, device=space.device).cumsum(0)
        self.means = torch.zeros(cfg.components, space.dim, device=space.device)
        self.scales = torch.zeros(cfg.components, space.dim, space.dim, device=space.device)  # Cholesky factors
        self.fits, self.fitted_at = 0, 0
        self._window = Window(cfg.window, space.dim, space.device)

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Draw points [k, D]: a share of them uniformly, the rest from a component chosen by its learning progress."""
        k, dim = len(env_ids), self.space.dim
        uniform = self.rand(k, dim)
        if not self.fits:
            return uniform
        component = draw(self.cdf, self.rand(k))
        step = (self.scales[component] @ self.randn(k, dim, 1))[..., 0]
        return torch.where(self.rand(k, 1) < self.cfg.random, uniform, (self.means[component] + step).clamp(0.0, 1.0))

    def learn(self, points: torch.Tensor, success: torch.Tensor, env_ids: torch.Tensor) -> None:
        """Keep the episodes, and fit the mixture anew after every `fit_every` of them."""
        self._window.add(points, success)
        if self._window.count - self.fitted_at < self.cfg.fit_every or self._window.count < self.cfg.window:
            return
        self.fits, self.fitted_at = self.fits + 1, self._window.count
        points, success = self._window.latest()
        half = len(points) // 2
        older = success_near(points[half:], points[:half], success[:half], self.cfg.neighbours)
        newer = success_near(points[half:], points[half:], success[half:], self.cfg.neighbours)
        progress = (newer - older).abs()
        data = torch.cat((points[half:], progress[:, None]), dim=1)
        weights, means, scales = fit(data, self.cfg.components, self.cfg.iterations, self.generator)
        dim = self.space.dim
        # A corner of the Cholesky factor is that of the corner of the covariance.
        self.means, self.scales = means[:, :dim], scales[:, :dim, :dim]
        self.cdf = ((means[:, dim].clamp(min=0.0) + 1e-6) * (weights > 0)).cumsum(0)

    def report(self) -> dict[str, float]:
        """The number of fits."""
        return {"fits": float(self.fits)}

    def state_dict(self) -> dict[str, Any]:
        """The state, with the window of the latest episodes."""
        return super().state_dict() | {"window": self._window.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        super().load_state_dict(state)
        self._window.load_state_dict(state["window"])


def fit(
    data: torch.Tensor, components: int, iterations: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best by Akaike's criterion of the Gaussian mixtures of 2 to `components` components of `data` [n, d].

    Returns weights [K] (0 for components that the best one does not have), means [K, d] and the Cholesky factors
    [K, d, d] of the covariances, after `iterations` of expectation-maximisation from randomly chosen points.
    """
    n, dim = data.shape
    centre = data.mean(dim=0)
    data = data - centre  # covariances are differences of moments below: small numbers keep them exact
    products = (data[:, :, None] * data[:, None]).flatten(1)
    sizes = torch.arange(2, components + 1, device=data.device)
    absent = torch.arange(components, device=data.device) >= sizes[:, None]  # [C, K]
    rows = torch.rand(len(sizes), components, generator=generator, device=data.device) * n
    means = data[rows.long().clamp_(max=n - 1)]  # [C, K, d]
    floor = FLOOR * torch.eye(dim, device=data.device)
    spread = data.T @ data / (n - 1)  # torch.cov would wait for the device
    covariances = (spread + floor).expand(len(sizes), components, dim, dim)
    log_weights = (-sizes.float().log()[:, None]).expand_as(absent).masked_fill(absent, -math.inf)
    for _ in range(iterations):
        joint, scales = _log_joint(data, log_weights, means, covariances)
        shares = torch.softmax(joint, dim=1)  # [C, K, n]
        mass = shares.sum(dim=2)
        log_weights = (mass / n).log().masked_fill(absent, -math.inf)
        mass = mass.clamp(min=1e-6)[..., None]
        means = shares @ data / mass
        moments = (shares @ products / mass).unflatten(2, (dim, dim))
        covariances = moments - means[..., :, None] * means[..., None, :] + floor
    joint, scales = _log_joint(data, log_weights, means, covariances)
    likelihood = joint.logsumexp(dim=1).sum(dim=1)
    parameters = sizes * (1 + dim + dim * (dim + 1) / 2) - 1
    best = (2 * parameters - 2 * likelihood).argmin(dim=0, keepdim=True)
    return log_weights[best][0].exp(), means[best][0] + centre, scales[best][0]


def _log_joint(
    data: torch.Tensor, log_weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log density of `data` times the weight of each component [C, K, n], and the Cholesky factors [C, K, d, d]."""
    scales = torch.linalg.cholesky_ex(covariances).L  # unlike `cholesky` it does not wait for the device
    inverse = torch.linalg.solve_triangular(scales, torch.eye(data.shape[1], device=data.device), upper=False)
    # One large product: a batch of small ones takes ten times as long on a CPU.
    whitened = (inverse.flatten(0, 2) @ data.T).unflatten(0, inverse.shape[:3])  # [C, K, d, n]
    apart = whitened - inverse @ means[..., None]
    log_det = scales.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    constant = log_weights - log_det - 0.5 * data.shape[1] * math.log(2 * math.pi)
    return constant[..., None] - 0.5 * apart.square().sum(dim=2), scales
