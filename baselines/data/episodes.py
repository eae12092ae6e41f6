"""Which episodes finished during an iteration, found without waiting for the device at every step."""

from __future__ import annotations

from typing import Any

import torch

from baselines.tianshou.graphs import Repeated
from curricula.episodes import Episodes


class EpisodeLog:
    """What happened in every step of an iteration [T, N], and running totals [N] of the episodes under way.

    A step is only copied; what is made of the copies is made once an iteration.

    Where all envs have started afresh, the first episodes to end are the short ones, most of them failures, while those
    that began with them are still under way. `reset` can have them left out for as long as an episode can take: after
    that about as many long ones end as short ones begin.

    Attributes:
        ended: step and env of the episodes that were taken last.
    """

    def __init__(self, horizon: int, num_envs: int, num_factors: int, device: torch.device) -> None:
        """Allocate for `horizon` steps and the task's `num_factors` factors."""
        shape = horizon, num_envs
        self._reward, self._difficulty = torch.zeros(2, *shape, device=device)
        self._done, self._success = torch.zeros(2, *shape, dtype=torch.bool, device=device)
        self._factors = torch.zeros(*shape, num_factors, device=device)
        self._totals = torch.zeros(3, num_envs, device=device)  # return, length, success so far
        self._whole = torch.ones(num_envs, dtype=torch.bool, device=device)  # false: cut short by a staggered reset
        self._follow = Repeated(self._through)
        self._t = 0
        self._unsettled = 0  # steps to come that are left out
        self.ended: tuple[torch.Tensor, torch.Tensor] | None = None

    def reset(self, cut_short: bool = False, unsettled: int = 0) -> None:
        """Every env starts a new episode, which does not count if it will be `cut_short`. What ran is forgotten.

        Nor do episodes that end within the first `unsettled` steps.
        """
        self._totals.zero_()
        self._whole.fill_(not cut_short)
        self._t, self._unsettled = 0, unsettled

    def record(self, reward: torch.Tensor, done: torch.Tensor, extras: dict[str, Any]) -> None:
        """Take in one step; all tensors are [N]."""
        t = self._t
        numbers = reward, extras["difficulty"], extras["factors"]
        torch._foreach_copy_((self._reward[t], self._difficulty[t], self._factors[t]), numbers)
        torch._foreach_copy_((self._done[t], self._success[t]), (done, extras["success"]))
        self._t = t + 1

    def take(self, env_steps: int) -> Episodes:
        """The episodes that ended in the `horizon` steps since the last call, in the order of time. Waits once."""
        assert self._t == len(self._reward), "an iteration has as many steps as it was allocated for"
        totals, counted = self._follow(self._reward, self._done, self._success)
        counted[: self._unsettled] = False
        self._unsettled = max(0, self._unsettled - len(counted))
        step, env_ids = self.ended = counted.nonzero(as_tuple=True)
        returns, lengths, once = totals[step, :, env_ids].unbind(1)
        self._t = 0
        return Episodes(
            env_ids=env_ids,
            difficulty=self._difficulty[step, env_ids],
            factors=self._factors[step, env_ids],
            returns=returns,
            lengths=lengths,
            success_once=once.bool(),
            success_at_end=self._success[step, env_ids],
            env_steps=env_steps,
        )

    def _through(
        self, reward: torch.Tensor, done: torch.Tensor, success: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The totals at every step [T, 3, N], and whether an episode that counts ended there [T, N]."""
        totals, counted = [], []
        for now, ends, succeeds in zip(reward, done, success, strict=True):
            self._totals[0] += now
            self._totals[1] += 1.0
            torch.maximum(self._totals[2], succeeds.to(now.dtype), out=self._totals[2])
            totals.append(self._totals.clone())
            counted.append(ends & self._whole)
            self._whole |= ends
            self._totals.masked_fill_(ends, 0.0)
        return torch.stack(totals), torch.stack(counted)


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
