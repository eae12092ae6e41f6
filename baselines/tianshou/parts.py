"""Arguments of Tianshou's algorithms that several of ours share, from a config."""

from __future__ import annotations

import math
from typing import Any

import torch
from omegaconf import DictConfig
from tianshou.algorithm.modelfree.sac import AutoAlpha
from tianshou.algorithm.optim import OptimizerFactory, TorchOptimizerFactory

from baselines.tianshou import networks
from baselines.tianshou.policies import TensorDeterministicPolicy, TensorGaussianPolicy
from tasks.core.env import TensorEnv


def adam(learning_rate: float) -> OptimizerFactory:
    """Adam with one kernel for all parameters."""
    return TorchOptimizerFactory(torch.optim.Adam, lr=learning_rate, fused=True)


def pick(cfg: DictConfig, *names: str, **renamed: str) -> dict[str, Any]:
    """Keyword arguments from the config: `names` as they are, `renamed` as argument=key."""
    return {name: cfg[name] for name in names} | {name: cfg[key] for name, key in renamed.items()}


def gaussian(env: TensorEnv, cfg: DictConfig) -> dict[str, Any]:
    """What on-policy algorithms with a Gaussian policy and a value function take."""
    actor = networks.gaussian_actor(cfg, env.spec.policy_dim, env.spec.action_dim)
    return {
        "policy": TensorGaussianPolicy(actor, env.action_space),
        "critic": networks.value_critic(cfg, env.spec.obs_dim),
        "optim": adam(cfg.learning_rate),
        **pick(cfg, "gamma", "gae_lambda", "return_scaling"),
    }


def q_learning(cfg: DictConfig) -> dict[str, Any]:
    """What off-policy algorithms with an actor take."""
    return {
        "policy_optim": adam(cfg.actor_learning_rate),
        "critic_optim": adam(cfg.learning_rate),
        **pick(cfg, "gamma", "tau", n_step_return_horizon="n_step"),
    }


def deterministic(env: TensorEnv, cfg: DictConfig) -> dict[str, Any]:
    """What off-policy algorithms with a deterministic actor take."""
    actor = networks.deterministic_actor(cfg, env.spec.policy_dim, env.spec.action_dim)
    return {
        "policy": TensorDeterministicPolicy(actor, env.action_space),
        "critic": networks.action_critic(cfg, env.spec.obs_dim, env.spec.action_dim),
        **q_learning(cfg),
    }


def temperature(env: TensorEnv, cfg: DictConfig) -> AutoAlpha:
    """The weight of the entropy, tuned to `target_entropy` per action value."""
    target = cfg.target_entropy * env.spec.action_dim
    return AutoAlpha(target, math.log(cfg.init_alpha), adam(cfg.alpha_learning_rate))
