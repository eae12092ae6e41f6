"""A `TensorEnv` as rsl_rl's `VecEnv`."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from tasks.core.env import TensorEnv


class RslEnv(VecEnv):
    def __init__(self, env: TensorEnv, staggered: bool) -> None:
        self.env, self.num_envs, self.device = env, env.num_envs, env.device
        self.num_actions, self.max_episode_length = env.spec.action_dim, env.spec.max_episode_steps
        self.episode_length_buf = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
        self.cfg: dict[str, Any] = {}
        self._obs = self._pack(env.reset(0, staggered))

    def get_observations(self) -> TensorDict:
        return self._obs

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        obs, reward, terminated, truncated, _ = self.env.step(actions.clamp(-1.0, 1.0))
        self._obs = self._pack(obs)
        return self._obs, reward, (terminated | truncated).long(), {"time_outs": truncated}

    def _pack(self, obs: torch.Tensor) -> TensorDict:
        # A copy: rsl_rl stores an observation after the step that follows it, when the env may have overwritten it.
        return TensorDict({"policy": obs.clone()}, batch_size=[self.num_envs], device=self.device)
