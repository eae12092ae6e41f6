"""Tianshou's networks, sized by a config."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from tianshou.utils.net.common import EnsembleLinear, Net
from tianshou.utils.net.continuous import (
    ContinuousActorDeterministic,
    ContinuousActorProbabilistic,
    ContinuousCritic,
)
from torch import nn

from baselines.policy_file import ACTIVATIONS


def trunk(cfg: DictConfig, obs_dim: int, kind: type[Net] = Net, **kwargs: Any) -> Net:
    """The hidden layers that the config asks for."""
    return kind(
        state_shape=(obs_dim,),
        hidden_sizes=list(cfg.hidden_sizes),
        activation=ACTIVATIONS[cfg.activation],
        norm_layer=nn.LayerNorm if cfg.layer_norm else None,
        **kwargs,
    )


class _PolicyNet(Net):
    """Sees the first columns of an observation only; those behind them are for critics."""

    def forward(self, obs: torch.Tensor, state: Any = None, info: Any = None) -> Any:
        """See `Net.forward`."""
        return super().forward(obs[..., : self.model.model[0].in_features], state, info)


def policy_trunk(cfg: DictConfig, policy_dim: int, **kwargs: Any) -> Net:
    """`trunk` on what a policy sees of an observation: its first `policy_dim` columns."""
    return trunk(cfg, policy_dim, _PolicyNet, **kwargs)


def gaussian_actor(cfg: DictConfig, policy_dim: int, action_dim: int) -> ContinuousActorProbabilistic:
    """A mean near 0, with `bounded_mean` in [-1, 1], and the same standard deviation in every state, both learned.

    The small last layer is from Andrychowicz et al. 2021 (arXiv:2006.05990, section 3.2).
    """
    net = policy_trunk(cfg, policy_dim)
    actor = ContinuousActorProbabilistic(preprocess_net=net, action_shape=(action_dim,), unbounded=not cfg.bounded_mean)
    nn.init.constant_(actor.sigma_param, math.log(cfg.init_std))
    with torch.no_grad():
        for layer in actor.mu.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(0.01)
                layer.bias.zero_()
    return actor


def value_critic(cfg: DictConfig, obs_dim: int) -> ContinuousCritic:
    """V(s)."""
    return ContinuousCritic(preprocess_net=trunk(cfg, obs_dim))


def squashed_actor(cfg: DictConfig, policy_dim: int, action_dim: int) -> ContinuousActorProbabilistic:
    """Mean and standard deviation of a Gaussian that the policy squashes with tanh."""
    return ContinuousActorProbabilistic(
        preprocess_net=policy_trunk(cfg, policy_dim),
        action_shape=(action_dim,),
        unbounded=True,
        conditioned_sigma=True,
    )


def deterministic_actor(cfg: DictConfig, policy_dim: int, action_dim: int) -> ContinuousActorDeterministic:
    """One action in [-1, 1]."""
    return ContinuousActorDeterministic(preprocess_net=policy_trunk(cfg, policy_dim), action_shape=(action_dim,))


def action_critic(cfg: DictConfig, obs_dim: int, action_dim: int) -> ContinuousCritic:
    """Q(s, a)."""
    return ContinuousCritic(preprocess_net=trunk(cfg, obs_dim, action_shape=(action_dim,), concat=True))


def action_critics(cfg: DictConfig, obs_dim: int, action_dim: int, count: int) -> ContinuousCritic:
    """`count` independent Q(s, a) in one module: [count, n, 1]."""
    linear = partial(EnsembleLinear, count)
    net = trunk(cfg, obs_dim, action_shape=(action_dim,), concat=True, linear_layer=linear)
    return ContinuousCritic(preprocess_net=net, linear_layer=linear, flatten_input=False)
