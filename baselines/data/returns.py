"""Advantages and targets in torch: the recursions of Tianshou's NumPy versions."""

from __future__ import annotations

import torch


def gae(
    reward: torch.Tensor,
    value: torch.Tensor,
    next_value: torch.Tensor,
    done: torch.Tensor,
    gamma: float,
    gae_lambda: float,
) -> torch.Tensor:
    """Generalised advantage estimates [T, N] (Schulman et al. 2016, arXiv:1506.02438).

    All inputs are [T, N]. `next_value` is V of the true next observation, 0 after a termination; `done` (bool) ends
    the sum, after a termination and a truncation alike.
    """
    delta = reward + gamma * next_value - value
    decay = (gamma * gae_lambda) * (~done).to(delta.dtype)
    advantage = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        running = torch.addcmul(delta[t], decay[t], running)
        advantage[t] = running
    return advantage


def nstep(reward: torch.Tensor, end: torch.Tensor, target: torch.Tensor, gamma: float) -> torch.Tensor:
    """Targets [k] of n-step Q-learning: discounted rewards, plus the discounted `target` [k] of the last step.

    `reward` and `end` (bool) are [n, k]: n consecutive transitions, of which those after the first `end` repeat it.
    `target` is the value after the last of them, 0 after a termination.
    """
    total, discount = torch.zeros_like(target), torch.ones_like(target)
    alive = torch.ones_like(end[0])
    for step_reward, step_end in zip(reward, end, strict=True):
        total = total + torch.where(alive, discount * step_reward, 0.0)
        discount = torch.where(alive, discount * gamma, discount)
        alive = alive & ~step_end
    return total + discount * target
