"""Tianshou's policies without what they do for NumPy, and with actions as the networks give them.

Actions are bounded in `baselines.actions`, for every learner, so scaling and bounding are off in all of them.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.redq import REDQPolicy
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.data import Batch
from torch import nn

from baselines.batch import tensor_batch


class _Normal(torch.distributions.Normal):
    """`torch.normal(mean, std)` waits for the device to check std; this does not."""

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008 (torch's signature)
        with torch.no_grad():
            return self.rsample(sample_shape)


def diagonal_gaussian(loc_scale: tuple[torch.Tensor, torch.Tensor]) -> torch.distributions.Independent:
    """The action distribution of on-policy learners; loc and scale are [n, action_dim]."""
    return torch.distributions.Independent(_Normal(*loc_scale, validate_args=False), 1, validate_args=False)


class _WithoutNumba:
    @staticmethod
    def _compile() -> None:
        """Stock compiles its NumPy returns whenever a policy is built: seconds in every process."""


class TensorGaussianPolicy(_WithoutNumba, ProbabilisticActorPolicy):
    """The policy of on-policy learners."""

    def __init__(self, actor: nn.Module, action_space: gym.spaces.Box) -> None:
        """`actor` gives mean and standard deviation."""
        super().__init__(
            actor=actor,
            dist_fn=diagonal_gaussian,
            deterministic_eval=True,
            action_space=action_space,
            action_scaling=False,
            action_bound_method=None,
        )


class TensorDeterministicPolicy(_WithoutNumba, ContinuousDeterministicPolicy):
    """The policy of DDPG and TD3; exploration noise is added in `baselines.exploration`."""

    def __init__(self, actor: nn.Module, action_space: gym.spaces.Box) -> None:
        """`actor` gives an action."""
        super().__init__(actor=actor, action_space=action_space, action_scaling=False, action_bound_method=None)


class TensorSACPolicy(_WithoutNumba, SACPolicy):
    """A Gaussian squashed by tanh."""

    def __init__(self, actor: nn.Module, action_space: gym.spaces.Box) -> None:
        """`actor` gives mean and standard deviation before tanh."""
        super().__init__(actor=actor, action_space=action_space, action_scaling=False)


class TensorREDQPolicy(_WithoutNumba, REDQPolicy):
    """A Gaussian squashed by tanh."""

    def __init__(self, actor: nn.Module, action_space: gym.spaces.Box) -> None:
        """`actor` gives mean and standard deviation before tanh."""
        super().__init__(actor=actor, action_space=action_space, action_scaling=False, action_bound_method=None)


class TensorQPolicy(_WithoutNumba, DiscreteQLearningPolicy):
    """Greedy in Q; stock brings the actions to the host."""

    def forward(self, batch: Batch, state: Any = None, model: nn.Module | None = None) -> Batch:
        """Q values `logits` [n, K] and their argmax `act` [n]."""
        logits, _ = (model or self.model)(batch.obs)
        return tensor_batch(logits=logits, act=logits.argmax(dim=1))
