"""The storage of off-policy learners: a ring of transitions, preallocated on the device."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from baselines.data.normalizer import ObsNormalizer
from baselines.errors import BufferTooLargeError
from baselines.tianshou.batch import TensorBatch, tensor_batch

_GIB = 2**30
_MARGIN = 0.9  # of the free memory that a buffer may take


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on `device`."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


class ReplayBuffer:
    """R rows of N transitions, time first, all envs at the same row. Observations are raw until they are read.

    A transition's index is row * N + env. `obs`, `next_obs` [R, N, obs_dim] (the true next observation, also where
    an episode ended), `act` [R, N, ...], `reward` [R, N], and bool `terminated` and `done` [R, N].
    """

    def __init__(
        self,
        size: int,
        num_envs: int,
        obs_dim: int,
        act: torch.Tensor,
        device: torch.device,
        norm: ObsNormalizer | None,
    ) -> None:
        """Allocate at least `size` transitions; `act` [...] is an example of one env's action.

        Raises `BufferTooLargeError` before anything is allocated if they do not fit in the device's memory.
        """
        self.num_envs, self.norm = num_envs, norm
        self.rows = rows = -(-size // num_envs)
        float_size = torch.get_default_dtype().itemsize
        needed = rows * num_envs * (2 * obs_dim * float_size + act.numel() * act.itemsize + float_size + 2)
        if needed > _MARGIN * (free := free_memory(device)):
            raise BufferTooLargeError(
                f"a replay buffer of {size} transitions needs {needed / _GIB:.1f} GiB, {device} has "
                f"{free / _GIB:.1f} GiB free; set a smaller buffer_size"
            )
        self.obs = torch.zeros(rows, num_envs, obs_dim, device=device)
        self.next_obs = torch.zeros(rows, num_envs, obs_dim, device=device)
        self.act = torch.zeros(rows, num_envs, *act.shape, dtype=act.dtype, device=device)
        self.reward = torch.zeros(rows, num_envs, device=device)
        self.terminated = torch.zeros(rows, num_envs, dtype=torch.bool, device=device)
        self.done = torch.zeros(rows, num_envs, dtype=torch.bool, device=device)
        self._cursor = 0  # the row to write next
        self._filled = 0  # rows written so far, at most R

    def __len__(self) -> int:
        """Transitions held."""
        return self._filled * self.num_envs

    def begin_step(self, obs: torch.Tensor, act: torch.Tensor) -> None:
        """Keep obs [N, obs_dim] and act [N, ...] before `env.step`, which may overwrite them."""
        self.obs[self._cursor].copy_(obs)
        self.act[self._cursor].copy_(act)

    def end_step(
        self,
        reward: torch.Tensor,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        final_obs: torch.Tensor,
        next_obs: torch.Tensor,
    ) -> None:
        """Keep what `env.step` returned."""
        row, done = self._cursor, terminated | truncated
        torch.where(done[:, None], final_obs, next_obs, out=self.next_obs[row])
        self.reward[row].copy_(reward)
        self.terminated[row].copy_(terminated)
        self.done[row].copy_(done)
        self._cursor = (row + 1) % self.rows
        self._filled = min(self._filled + 1, self.rows)

    def cut(self) -> None:
        """Let no multi-step target cross from the newest row to the next one: the envs are reset in between."""
        if self._filled:
            self.done[self._cursor - 1] = True

    def recent(self, steps: int) -> dict[str, torch.Tensor]:
        """The newest rows [steps, N, ...] in the order of time, by the names that errors use."""
        rows = [(self._cursor - k) % self.rows for k in range(steps, 0, -1)]
        return {"observation": self.obs[rows], "next observation": self.next_obs[rows], "reward": self.reward[rows]}

    def read(self, obs: torch.Tensor) -> torch.Tensor:
        """`obs` as the networks see it."""
        return obs if self.norm is None else self.norm(obs)

    def read_next_obs(self, indices: torch.Tensor) -> torch.Tensor:
        """The next observations [k, obs_dim] of transitions [k], as the networks see them."""
        return self.read(self.next_obs.flatten(0, 1).index_select(0, indices))

    def window(self, indices: torch.Tensor, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices [steps, k] of transitions that follow each other from `indices` [k], and bool: is it the last one.

        The last one of an episode, or of what has been collected, is repeated.
        """
        done, newest = self.done.flatten(), (self._cursor - 1) % self.rows
        window, ends = [], []
        for _ in range(steps):
            end = done[indices] | (indices.div(self.num_envs, rounding_mode="floor") == newest)
            window.append(indices)
            ends.append(end)
            indices = torch.where(end, indices, (indices + self.num_envs) % (self.rows * self.num_envs))
        return torch.stack(window), torch.stack(ends)

    def sample_indices(self, size: int) -> torch.Tensor:
        """`size` uniform draws, with replacement."""
        return torch.randint(len(self), (size,), device=self.reward.device)

    def sample(self, size: int) -> tuple[TensorBatch, torch.Tensor]:
        """A minibatch for a Tianshou update, and its indices."""
        indices = self.sample_indices(size)
        obs, act = (x.flatten(0, 1).index_select(0, indices) for x in (self.obs, self.act))
        return tensor_batch(obs=self.read(obs), act=act), indices

    def state_dict(self) -> dict[str, Any]:
        """What has been collected."""
        names = ("obs", "next_obs", "act", "reward", "terminated", "done")
        filled = {name: getattr(self, name)[: self._filled].clone() for name in names}
        return {"cursor": self._cursor, "filled": self._filled, "data": filled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`, into a buffer of the same shape."""
        self._cursor, self._filled = state["cursor"], state["filled"]
        for name, value in state["data"].items():
            getattr(self, name)[: self._filled].copy_(value)
