"""The storage of on-policy learners: one rollout, preallocated on the device."""

from __future__ import annotations

import torch

from baselines.data.normalizer import ObsNormalizer
from baselines.tianshou.batch import TensorBatch, tensor_batch


class RolloutBuffer:
    """T vector steps of N envs, time first. Observations are raw; they are standardised where they are read.

    Tensors of one type are copied together: a step waits for the host, to which each copy is as long as another.

    Attributes:
        obs: [T + 1, N, obs_dim]; the last row is what the envs returned after the last step.
        act: [T, N, ...] what the policy chose, before it was bounded.
        reward: [T, N].
        terminated, truncated: [T, N] bool.
        final_obs: [T, N, obs_dim], valid in rows that ended.
    """

    def __init__(
        self, horizon: int, num_envs: int, obs_dim: int, act_dim: int, device: torch.device, norm: ObsNormalizer | None
    ) -> None:
        """Allocate everything, in the default dtype."""
        self.horizon, self.num_envs, self.norm = horizon, num_envs, norm
        self.obs = torch.zeros(horizon + 1, num_envs, obs_dim, device=device)
        self.act = torch.zeros(horizon, num_envs, act_dim, device=device)
        self.reward = torch.zeros(horizon, num_envs, device=device)
        self.terminated = torch.zeros(horizon, num_envs, dtype=torch.bool, device=device)
        self.truncated = torch.zeros(horizon, num_envs, dtype=torch.bool, device=device)
        self.final_obs = torch.zeros(horizon, num_envs, obs_dim, device=device)
        self._t = 0

    def begin_step(self, obs: torch.Tensor, act: torch.Tensor) -> None:
        """Keep obs [N, obs_dim] and act before `env.step`, which may overwrite them."""
        torch._foreach_copy_((self.obs[self._t], self.act[self._t]), (obs, act))

    def end_step(
        self,
        reward: torch.Tensor,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        final_obs: torch.Tensor,
        next_obs: torch.Tensor,
    ) -> None:
        """Keep what `env.step` returned."""
        t = self._t
        torch._foreach_copy_((self.reward[t], self.final_obs[t]), (reward, final_obs))
        torch._foreach_copy_((self.terminated[t], self.truncated[t]), (terminated, truncated))
        self._t = t + 1
        if self._t == self.horizon:
            self.obs[self._t].copy_(next_obs)
            self._t = 0

    def seen(self) -> dict[str, torch.Tensor]:
        """What `env.step` returned [T, N, ...], by the names that errors use."""
        done = (self.terminated | self.truncated)[:, :, None]
        final_obs = self.final_obs.masked_fill(~done, 0.0)
        return {"observation": self.obs[1:], "final observation": final_obs, "reward": self.reward}

    def read(self, obs: torch.Tensor) -> torch.Tensor:
        """`obs` as the networks see it."""
        return obs if self.norm is None else self.norm(obs)

    def sample(self, size: int) -> tuple[TensorBatch, None]:
        """The whole rollout [T * N, ...] in the order of time (what Tianshou's on-policy update asks for, `size` 0)."""
        assert size == 0, "an on-policy update reads the whole rollout"
        return tensor_batch(obs=self.read(self.obs[:-1].flatten(0, 1)), act=self.act.flatten(0, 1)), None
