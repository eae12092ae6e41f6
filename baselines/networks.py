"""Tianshou's networks and policies, sized by a config."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import gymnasium as gym
import torch
from omegaconf import DictConfig
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.utils.net.common import EnsembleLinear, Net
from tianshou.utils.net.continuous import (
    ContinuousActorDeterministic,
    ContinuousActorProbabilistic,
    ContinuousCritic,
)
from torch import nn

_ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


def trunk(cfg: DictConfig, obs_dim: int, **kwargs: Any) -> Net:
    """The hidden layers that the config asks for."""
    return Net(
        state_shape=(obs_dim,),
        hidden_sizes=list(cfg.hidden_sizes),
        activation=_ACTIVATIONS[cfg.activation],
        norm_layer=nn.LayerNorm if cfg.layer_norm else None,
        **kwargs,
    )


class _Normal(torch.distributions.Normal):
    """`torch.normal(mean, std)` waits for the device to check std; this does not."""

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008 (torch's signature)
        with torch.no_grad():
            return self.rsample(sample_shape)


def diagonal_gaussian(loc_scale: tuple[torch.Tensor, torch.Tensor]) -> torch.distributions.Independent:
    """The action distribution of on-policy learners; loc and scale are [n, action_dim]."""
    return torch.distributions.Independent(_Normal(*loc_scale, validate_args=False), 1, validate_args=False)


def gaussian_actor(cfg: DictConfig, obs_dim: int, action_dim: int) -> ContinuousActorProbabilistic:
    """A mean near 0 and the same standard deviation in every state, both learned.

    The small last layer is from Andrychowicz et al. 2021 (arXiv:2006.05990, section 3.2).
    """
    actor = ContinuousActorProbabilistic(preprocess_net=trunk(cfg, obs_dim), action_shape=(action_dim,), unbounded=True)
    nn.init.constant_(actor.sigma_param, math.log(cfg.init_std))
    with torch.no_grad():
        for layer in actor.mu.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(0.01)
                layer.bias.zero_()
    return actor


def gaussian_policy(actor: ContinuousActorProbabilistic, action_space: gym.spaces.Box) -> ProbabilisticActorPolicy:
    """The policy of on-policy learners. Its actions are bounded in `baselines.actions`, for every learner."""
    return ProbabilisticActorPolicy(
        actor=actor,
        dist_fn=diagonal_gaussian,
        deterministic_eval=True,
        action_space=action_space,
        action_scaling=False,
        action_bound_method=None,
    )


def value_critic(cfg: DictConfig, obs_dim: int) -> ContinuousCritic:
    """V(s)."""
    return ContinuousCritic(preprocess_net=trunk(cfg, obs_dim))


def squashed_actor(cfg: DictConfig, obs_dim: int, action_dim: int) -> ContinuousActorProbabilistic:
    """Mean and standard deviation of a Gaussian that the policy squashes with tanh."""
    return ContinuousActorProbabilistic(
        preprocess_net=trunk(cfg, obs_dim), action_shape=(action_dim,), unbounded=True, conditioned_sigma=True
    )


def deterministic_actor(cfg: DictConfig, obs_dim: int, action_dim: int) -> ContinuousActorDeterministic:
    """One action in [-1, 1]."""
    return ContinuousActorDeterministic(preprocess_net=trunk(cfg, obs_dim), action_shape=(action_dim,))


def action_critic(cfg: DictConfig, obs_dim: int, action_dim: int) -> ContinuousCritic:
    """Q(s, a)."""
    return ContinuousCritic(preprocess_net=trunk(cfg, obs_dim, action_shape=(action_dim,), concat=True))


def action_critics(cfg: DictConfig, obs_dim: int, action_dim: int, count: int) -> ContinuousCritic:
    """`count` independent Q(s, a) in one module: [count, n, 1]."""
    linear = partial(EnsembleLinear, count)
    net = trunk(cfg, obs_dim, action_shape=(action_dim,), concat=True, linear_layer=linear)
    return ContinuousCritic(preprocess_net=net, linear_layer=linear, flatten_input=False)
