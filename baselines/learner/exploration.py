"""Exploration of off-policy learners, different in every env of the batch."""

from __future__ import annotations

import torch

from baselines.data.collector import Act


def uniform(num_envs: int, action_dim: int, table: torch.Tensor | None, device: torch.device) -> Act:
    """Uniform draws from [-1, 1], or of the row of `table` [K, action_dim], before any update."""
    if table is not None:
        return lambda obs: torch.randint(len(table), (num_envs,), device=device)
    return lambda obs: torch.rand(num_envs, action_dim, device=device) * 2 - 1


def gaussian(act: Act, num_envs: int, low: float, high: float, device: torch.device) -> Act:
    """Noise with a standard deviation from `low` in the first env to `high` in the last, added to `act`.

    Mixed exploration (Li et al. 2023, "Parallel Q-Learning", arXiv:2307.12983, section 3.3): no value fits every task.
    """
    std = torch.linspace(low, high, num_envs, device=device)[:, None]

    def explore(obs: torch.Tensor) -> torch.Tensor:
        chosen = act(obs)
        return chosen + std * torch.randn_like(chosen)

    return explore


def epsilon_greedy(act: Act, num_envs: int, choices: int, low: float, high: float, device: torch.device) -> Act:
    """`act`, or one of `choices` indices with a probability from `high` in the first env to `low` in the last.

    Geometric between the two (Horgan et al. 2018, "Distributed Prioritized Experience Replay", arXiv:1803.00933).
    """
    epsilon = torch.logspace(0, 1, num_envs, base=low / high, device=device) * high

    def explore(obs: torch.Tensor) -> torch.Tensor:
        chosen = act(obs)
        return torch.where(torch.rand(num_envs, device=device) < epsilon, torch.randint_like(chosen, choices), chosen)

    return explore
