"""Which episodes finished during an iteration, found without waiting for the device at every step."""

from __future__ import annotations

from typing import Any

import torch

from curricula.teacher import Episodes


class EpisodeLog:
    """Running totals [N] of the episodes under way, and their values [T, N] at every step of an iteration."""

    def __init__(self, horizon: int, num_envs: int, num_factors: int, device: torch.device) -> None:
        """Allocate for `horizon` steps and the task's `num_factors` factors."""
        self._totals = torch.zeros(3, num_envs, device=device)  # return, length, success so far
        self._rows = torch.zeros(horizon, 5, num_envs, device=device)  # the totals, success now, difficulty
        self._factors = torch.zeros(horizon, num_envs, num_factors, device=device)
        self._done = torch.zeros(horizon, num_envs, dtype=torch.bool, device=device)
        self._whole = torch.ones(num_envs, dtype=torch.bool, device=device)  # false: cut short by a staggered reset
        self._t = 0
        self.ended: tuple[torch.Tensor, torch.Tensor] | None = None  # step and env of the episodes taken last

    def reset(self, cut_short: bool = False) -> None:
        """Every env starts a new episode, which does not count if it will be `cut_short`. What ran is forgotten."""
        self._totals.zero_()
        self._whole.fill_(not cut_short)
        self._t = 0

    def record(self, reward: torch.Tensor, done: torch.Tensor, extras: dict[str, Any]) -> None:
        """Take in one step; all tensors are [N]."""
        self._totals[0] += reward
        self._totals[1] += 1.0
        torch.maximum(self._totals[2], extras["success"].to(reward.dtype), out=self._totals[2])
        row = self._rows[self._t]
        row[:3].copy_(self._totals)
        row[3].copy_(extras["success"])
        row[4].copy_(extras["difficulty"])
        self._factors[self._t].copy_(extras["factors"])
        torch.logical_and(done, self._whole, out=self._done[self._t])
        self._whole |= done
        self._totals.masked_fill_(done, 0.0)
        self._t += 1

    def take(self, env_steps: int) -> Episodes:
        """The episodes that ended since the last call, in the order of time. Waits for the device once."""
        step, env_ids = self.ended = self._done[: self._t].nonzero(as_tuple=True)
        returns, lengths, once, at_end, difficulty = self._rows[step, :, env_ids].unbind(1)
        self._t = 0
        return Episodes(
            env_ids=env_ids,
            difficulty=difficulty,
            factors=self._factors[step, env_ids],
            returns=returns,
            lengths=lengths,
            success_once=once.bool(),
            success_at_end=at_end.bool(),
            env_steps=env_steps,
        )


class AdvantageLog:
    """The sum of |advantage| over episodes that end in a rollout, those that began in earlier ones included."""

    def __init__(self, num_envs: int, device: torch.device) -> None:
        """All episodes begin now."""
        self._so_far = torch.zeros(num_envs, device=device)

    def reset(self) -> None:
        """Every env starts a new episode; what ran is forgotten."""
        self._so_far.zero_()

    def take(
        self, advantage: torch.Tensor, done: torch.Tensor, ended: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """The sums [k] of the episodes that ended at `ended`, see `EpisodeLog`, of a rollout's [T, N] both."""
        total = self._so_far + advantage.abs().cumsum(dim=0)
        latest = torch.where(done, total, 0.0).cummax(dim=0).values  # total never falls: that at the latest end
        before = torch.cat((torch.zeros_like(latest[:1]), latest[:-1]))
        self._so_far = total[-1] - latest[-1]
        return (total - before)[ended]


def summary(episodes: Episodes, success_when: str) -> dict[str, float]:
    """Means over the episodes (NaN where none ended) and their number."""
    count = len(episodes.returns)
    values = torch.stack(
        (episodes.returns.mean(), episodes.lengths.mean(), episodes.success(success_when).float().mean())
    )
    returns, lengths, success = values.tolist()
    return {"return_mean": returns, "length_mean": lengths, "success_mean": success, "episodes": float(count)}
