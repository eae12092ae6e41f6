"""Steps the env batch and stores what happens. No NumPy, and nothing in a step waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from baselines.actions import to_env
from baselines.data.episodes import EpisodeLog
from curricula.episodes import Episodes
from tasks.core.env import TensorEnv

Act = Callable[[torch.Tensor], torch.Tensor]
"""What the agent chooses in obs [N, obs_dim]: act [N, A], or indices [N]."""


class Buffer(Protocol):
    """What the collector asks of a buffer; see `RolloutBuffer` and `ReplayBuffer`."""

    def begin_step(self, obs: torch.Tensor, act: torch.Tensor) -> None: ...  # noqa: D102

    def end_step(  # noqa: D102
        self,
        reward: torch.Tensor,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        final_obs: torch.Tensor,
        next_obs: torch.Tensor,
    ) -> None: ...


class Collector:
    """Drives `env` into `buffer`."""

    def __init__(
        self,
        env: TensorEnv,
        buffer: Buffer,
        horizon: int,
        reward_scale: float,
        table: torch.Tensor | None,
        store_bounded: bool,
    ) -> None:
        """`horizon` vector steps between two calls of `take`.

        `table` [K, action_dim]: the actions that indices choose from. `store_bounded`: keep the action that the env
        took instead of the agent's choice; an off-policy critic has to see that one, while an on-policy learner needs
        the choice for its probability.
        """
        self.env, self.buffer = env, buffer
        self._reward_scale, self._table, self._store_bounded = reward_scale, table, store_bounded
        self.episodes = EpisodeLog(horizon, env.num_envs, len(env.spec.factors), env.device)
        self.obs: torch.Tensor | None = None  # of the step to come; None before the first reset

    def reset(self, seed: int, staggered: bool, settle: bool) -> None:
        """Start new episodes everywhere; see `TensorEnv.reset`.

        With `settle`, those that end before whole ones can are left out of what `take` returns, see `EpisodeLog`.
        """
        self.obs = self.env.reset(seed, staggered)
        longest = self.env.spec.max_episode_steps - (not staggered)  # then all may end in the same step, which counts
        self.episodes.reset(cut_short=staggered, unsettled=longest if settle else 0)

    @torch.no_grad()
    def step(self, act: Act) -> None:
        """One vector step."""
        choice = act(self.obs)
        action = to_env(choice, self._table)
        self.buffer.begin_step(self.obs, action if self._store_bounded else choice)
        next_obs, reward, terminated, truncated, extras = self.env.step(action)
        self.buffer.end_step(reward * self._reward_scale, terminated, truncated, extras["final_obs"], next_obs)
        self.episodes.record(reward, terminated | truncated, extras)
        self.obs = next_obs

    def take(self, env_steps: int) -> Episodes:
        """The episodes that ended since the last call; `env_steps` is what they are dated with."""
        return self.episodes.take(env_steps)
