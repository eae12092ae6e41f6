"""Tianshou's off-policy algorithms with their targets computed in torch from a `ReplayBuffer`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tianshou.algorithm import DDPG, DQN, REDQ, SAC, TD3

from baselines.data.replay_buffer import ReplayBuffer
from baselines.data.returns import nstep
from baselines.tianshou.batch import AlwaysTraining, TensorBatch, tensor_batch


class TensorTargets(AlwaysTraining):
    """Replaces `compute_nstep_return` and `_target_q` of Tianshou's actor-critic algorithms; their updates stay."""

    @staticmethod
    @torch.no_grad()
    def compute_nstep_return(
        batch: TensorBatch,
        buffer: ReplayBuffer,
        indices: torch.Tensor,
        target_q_fn: Callable[[ReplayBuffer, torch.Tensor], torch.Tensor],
        gamma: float = 0.99,
        n_step: int = 1,
    ) -> TensorBatch:
        """Set `batch.returns` [k] to the n-step targets of `indices` [k]."""
        window, end = buffer.window(indices, n_step)
        target = target_q_fn(buffer, window[-1]).flatten()
        target = target.masked_fill(buffer.terminated.flatten()[window[-1]], 0.0)
        batch.returns = nstep(buffer.reward.flatten()[window], end, target, gamma)
        return batch

    def _target_q(self, buffer: ReplayBuffer, indices: torch.Tensor) -> torch.Tensor:
        batch = tensor_batch(obs=buffer.read_next_obs(indices))
        return self._target_q_compute_value(batch, self._target_q_compute_action(batch))


class TensorSAC(TensorTargets, SAC):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905)."""


class TensorTD3(TensorTargets, TD3):
    """Twin delayed DDPG (Fujimoto et al. 2018, arXiv:1802.09477)."""


class TensorDDPG(TensorTargets, DDPG):
    """Deep deterministic policy gradient (Lillicrap et al. 2015, arXiv:1509.02971)."""


class TensorREDQ(TensorTargets, REDQ):
    """Randomised ensembled double Q-learning (Chen et al. 2021, arXiv:2101.05982)."""


class TensorDQN(TensorTargets, DQN):
    """Deep Q-learning (Mnih et al. 2015), with the double target of van Hasselt et al. 2015 (arXiv:1509.06461)."""

    def _target_q(self, buffer: ReplayBuffer, indices: torch.Tensor) -> torch.Tensor:
        batch = tensor_batch(obs=buffer.read_next_obs(indices))
        target = self.policy(batch, model=self.model_old).logits
        if not self.is_double:
            return target.amax(dim=1)
        return target.gather(1, self.policy(batch).act[:, None])
