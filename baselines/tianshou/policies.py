"""Tianshou's policies without what they do for NumPy, and with actions as the networks give them.

Actions are bounded in `baselines.actions`, for every learner, so scaling and bounding are off in all of them.
`act` is what a rollout needs: what `forward` chooses in training, without probabilities and without a `Batch`.
`layers` is what a policy file holds.
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

from baselines.tianshou.batch import tensor_batch


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


def _draw(actor: nn.Module, obs: torch.Tensor) -> torch.Tensor:
    (mean, std), _ = actor(obs)
    return torch.addcmul(mean, std, torch.randn_like(mean))


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

    def act(self, obs: torch.Tensor) -> torch.Tensor:
        """A draw [n, action_dim] for obs [n, obs_dim]."""
        return _draw(self.actor, obs)

    def layers(self) -> list[nn.Module]:
        """The feed-forward layers that act without exploration."""
        return [*self.actor.preprocess.model.model, *self.actor.mu.model]


class TensorDeterministicPolicy(_WithoutNumba, ContinuousDeterministicPolicy):
    """The policy of DDPG and TD3; exploration noise is added in `baselines.learner.exploration`."""

    def __init__(self, actor: nn.Module, action_space: gym.spaces.Box) -> None:
        """`actor` gives an action."""
        super().__init__(actor=actor, action_space=action_space, action_scaling=False, action_bound_method=None)

    def act(self, obs: torch.Tensor) -> torch.Tensor:
        """The action [n, action_dim] for obs [n, obs_dim]."""
        return self.actor(obs)[0]

    def layers(self) -> list[nn.Module]:
        """The feed-forward layers that act without exploration."""
        return [*self.actor.preprocess.model.model, *self.actor.last.model]


class TensorSACPolicy(_WithoutNumba, SACPolicy):
    """A Gaussian squashed by tanh."""

    def __init__(self, actor: nn.Module, action_space: gym.spaces.Box) -> None:
        """`actor` gives mean and standard deviation before tanh."""
        super().__init__(actor=actor, action_space=action_space, action_scaling=False)

    def act(self, obs: torch.Tensor) -> torch.Tensor:
        """A draw [n, action_dim] for obs [n, obs_dim]."""
        return _draw(self.actor, obs).tanh()

    def layers(self) -> list[nn.Module]:
        """The feed-forward layers that act without exploration."""
        return [*self.actor.preprocess.model.model, *self.actor.mu.model]


class TensorREDQPolicy(_WithoutNumba, REDQPolicy):
    """A Gaussian squashed by tanh."""

    def __init__(self, actor: nn.Module, action_space: gym.spaces.Box) -> None:
        """`actor` gives mean and standard deviation before tanh."""
        super().__init__(actor=actor, action_space=action_space, action_scaling=False, action_bound_method=None)

    def act(self, obs: torch.Tensor) -> torch.Tensor:
        """A draw [n, action_dim] for obs [n, obs_dim]."""
        return _draw(self.actor, obs).tanh()

    def layers(self) -> list[nn.Module]:
        """The feed-forward layers that act without exploration."""
        return [*self.actor.preprocess.model.model, *self.actor.mu.model]


class TensorQPolicy(_WithoutNumba, DiscreteQLearningPolicy):
    """Greedy in Q; stock brings the actions to the host."""

    def forward(self, batch: Batch, state: Any = None, model: nn.Module | None = None) -> Batch:
        """Q values `logits` [n, K] and their argmax `act` [n]."""
        logits, _ = (model or self.model)(batch.obs)
        return tensor_batch(logits=logits, act=logits.argmax(dim=1))

    def act(self, obs: torch.Tensor) -> torch.Tensor:
        """The index [n] of the largest Q value in obs [n, obs_dim]."""
        return self.model(obs)[0].argmax(dim=1)

    def layers(self) -> list[nn.Module]:
        """The feed-forward layers of Q."""
        return list(self.model.model.model)
