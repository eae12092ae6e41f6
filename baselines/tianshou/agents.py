"""Builds the Tianshou `Algorithm` that a config describes, and takes it apart for checkpoints and policy files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import torch
from omegaconf import DictConfig
from tianshou.algorithm import Algorithm
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.algorithm.modelfree.sac import AutoAlpha
from tianshou.algorithm.optim import OptimizerFactory, TorchOptimizerFactory
from torch import nn

from baselines.tianshou import networks, private
from baselines.tianshou.off_policy import TensorDDPG, TensorDQN, TensorREDQ, TensorSAC, TensorTD3
from baselines.tianshou.on_policy import TensorA2C, TensorNPG, TensorPPO, TensorTRPO
from baselines.tianshou.policies import (
    TensorDeterministicPolicy,
    TensorGaussianPolicy,
    TensorQPolicy,
    TensorREDQPolicy,
    TensorSACPolicy,
)
from tasks.core.env import TensorEnv


def _adam(learning_rate: float) -> OptimizerFactory:
    return TorchOptimizerFactory(torch.optim.Adam, lr=learning_rate, fused=True)  # one kernel for all parameters


def _pick(cfg: DictConfig, *names: str, **renamed: str) -> dict[str, Any]:
    """Keyword arguments from the config: `names` as they are, `renamed` as argument=key."""
    return {name: cfg[name] for name in names} | {name: cfg[key] for name, key in renamed.items()}


def _actor_critic(env: TensorEnv, cfg: DictConfig) -> dict[str, Any]:
    actor = networks.gaussian_actor(cfg, env.spec.policy_dim, env.spec.action_dim)
    return {
        "policy": TensorGaussianPolicy(actor, env.action_space),
        "critic": networks.value_critic(cfg, env.spec.obs_dim),
        "optim": _adam(cfg.learning_rate),
        **_pick(cfg, "gamma", "gae_lambda", "return_scaling"),
    }


def _a2c(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    return TensorA2C(**_actor_critic(env, cfg), **_pick(cfg, "vf_coef", "ent_coef", "max_grad_norm"))


def _ppo(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    return TensorPPO(
        **_actor_critic(env, cfg),
        **_pick(cfg, "vf_coef", "ent_coef", "max_grad_norm", "eps_clip", "value_clip", "advantage_normalization"),
        **_pick(cfg, "desired_kl", "learning_rate_min", "learning_rate_max"),
    )


def _npg(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    return TensorNPG(
        **_actor_critic(env, cfg),
        **_pick(cfg, "trust_region_size", "advantage_normalization", optim_critic_iters="critic_iters"),
    )


def _trpo(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    return TensorTRPO(
        **_actor_critic(env, cfg),
        **_pick(cfg, "trust_region_size", "advantage_normalization", optim_critic_iters="critic_iters"),
        **_pick(cfg, "max_kl", "backtrack_coeff", "max_backtracks"),
    )


def _q_learning(cfg: DictConfig) -> dict[str, Any]:
    return {
        "policy_optim": _adam(cfg.actor_learning_rate),
        "critic_optim": _adam(cfg.learning_rate),
        **_pick(cfg, "gamma", "tau", n_step_return_horizon="n_step"),
    }


def _deterministic(env: TensorEnv, cfg: DictConfig) -> dict[str, Any]:
    actor = networks.deterministic_actor(cfg, env.spec.policy_dim, env.spec.action_dim)
    return {
        "policy": TensorDeterministicPolicy(actor, env.action_space),
        "critic": networks.action_critic(cfg, env.spec.obs_dim, env.spec.action_dim),
        **_q_learning(cfg),
    }


def _ddpg(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    return TensorDDPG(**_deterministic(env, cfg))


def _td3(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    return TensorTD3(
        **_deterministic(env, cfg),
        critic2=networks.action_critic(cfg, env.spec.obs_dim, env.spec.action_dim),
        **_pick(cfg, "policy_noise", "noise_clip", "update_actor_freq"),
    )


def _alpha(env: TensorEnv, cfg: DictConfig) -> AutoAlpha:
    target = cfg.target_entropy * env.spec.action_dim
    return AutoAlpha(target, math.log(cfg.init_alpha), _adam(cfg.alpha_learning_rate))


def _sac(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    dims = env.spec.obs_dim, env.spec.action_dim
    actor = networks.squashed_actor(cfg, env.spec.policy_dim, env.spec.action_dim)
    return TensorSAC(
        policy=TensorSACPolicy(actor, env.action_space),
        critic=networks.action_critic(cfg, *dims),
        critic2=networks.action_critic(cfg, *dims),
        alpha=_alpha(env, cfg),
        **_q_learning(cfg),
    )


def _redq(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    dims = env.spec.obs_dim, env.spec.action_dim
    actor = networks.squashed_actor(cfg, env.spec.policy_dim, env.spec.action_dim)
    return TensorREDQ(
        policy=TensorREDQPolicy(actor, env.action_space),
        critic=networks.action_critics(cfg, *dims, cfg.ensemble_size),
        alpha=_alpha(env, cfg),
        **_q_learning(cfg),
        **_pick(cfg, "ensemble_size", "subset_size", "actor_delay"),
    )


def _dqn(env: TensorEnv, cfg: DictConfig) -> Algorithm:
    choices = len(env.spec.discrete_actions)
    if not choices:
        raise ValueError(f"{env.spec.name} declares no discrete_actions, which dqn chooses from; use another learner")
    model = networks.policy_trunk(cfg, env.spec.policy_dim, action_shape=(choices,))
    return TensorDQN(
        policy=TensorQPolicy(model=model, action_space=gym.spaces.Discrete(choices)),
        optim=_adam(cfg.learning_rate),
        **_pick(cfg, "gamma", "target_update_freq", n_step_return_horizon="n_step", is_double="double"),
    )


_BUILDERS: dict[str, Callable[[TensorEnv, DictConfig], Algorithm]] = {
    "ppo": _ppo,
    "a2c": _a2c,
    "trpo": _trpo,
    "npg": _npg,
    "sac": _sac,
    "td3": _td3,
    "ddpg": _ddpg,
    "redq": _redq,
    "dqn": _dqn,
}


def make_agent(name: str, env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """See `baselines.make_agent`."""
    if name not in _BUILDERS:
        raise ValueError(f"unknown learner {name!r}; valid: {', '.join(_BUILDERS)}")
    private.HOME.demand()
    return _BUILDERS[name](env, cfg).to(env.device)


def action_table(name: str, env: TensorEnv) -> torch.Tensor | None:
    """The actions [K, action_dim] that the learner `name` chooses from, None if it is continuous."""
    return torch.tensor(env.spec.discrete_actions, device=env.device) if name == "dqn" else None


def actor_layers(algorithm: Algorithm) -> tuple[list[nn.Module], bool]:
    """The feed-forward layers that act (or give Q) without exploration, and whether tanh follows them."""
    policy = algorithm.policy
    if isinstance(algorithm, TensorDQN):
        return list(policy.model.model.model), False
    head = policy.actor.last if isinstance(policy, TensorDeterministicPolicy) else policy.actor.mu
    squash = private.squashes(policy.actor) if isinstance(policy, TensorGaussianPolicy) else True
    return [*policy.actor.preprocess.model.model, *head.model], squash


def losses(stats: TrainingStats) -> dict[str, float]:
    """What an update reported, by name."""
    values = stats.get_loss_stats_dict()
    return {name: float(value) for name, value in values.items() if name != "gradient_steps"}


# What updates depend on or report and `Algorithm.state_dict` leaves out: TD3's and DQN's and REDQ's.
_COUNTERS = ("_cnt", "_last", "_iter", "critic_gradient_step", "_last_actor_loss")


def agent_state(algorithm: Algorithm) -> dict[str, Any]:
    """Networks, optimisers (the temperature's too), statistics and counters."""
    optimiser = private.temperature_optimiser(algorithm)
    return {
        "modules": algorithm.state_dict(),
        "alpha": None if optimiser is None else optimiser.state_dict(),
        "counters": {name: getattr(algorithm, name) for name in _COUNTERS if hasattr(algorithm, name)},
    }


def load_agent_state(algorithm: Algorithm, state: dict[str, Any]) -> None:
    """Undo `agent_state`."""
    algorithm.load_state_dict(dict(state["modules"]))  # Tianshou removes a key from what it is given
    if state["alpha"] is not None:
        private.temperature_optimiser(algorithm).load_state_dict(state["alpha"])
    for name, value in state["counters"].items():
        setattr(algorithm, name, value)
