"""Builds the Tianshou `Algorithm` that a config describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig
from tianshou.algorithm import Algorithm
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.algorithm.optim import OptimizerFactory, TorchOptimizerFactory
from torch import nn

from baselines import networks
from baselines.onpolicy import TensorA2C, TensorNPG, TensorPPO, TensorTRPO
from tasks.env import TensorEnv


def _adam(learning_rate: float) -> OptimizerFactory:
    return TorchOptimizerFactory(torch.optim.Adam, lr=learning_rate)


def _on_policy(cls: type[Algorithm], *more: str) -> Callable[[TensorEnv, DictConfig], Algorithm]:
    """A builder that passes the keys `more` of the config on under their own names."""

    def build(env: TensorEnv, cfg: DictConfig) -> Algorithm:
        kwargs: dict[str, Any] = {key: cfg[key] for key in ("gamma", "gae_lambda", "return_scaling", *more)}
        if "critic_iters" in cfg:
            kwargs["optim_critic_iters"] = cfg.critic_iters
        return cls(
            policy=networks.gaussian_policy(cfg, env.spec.obs_dim, env.action_space),
            critic=networks.value_critic(cfg, env.spec.obs_dim),
            optim=_adam(cfg.learning_rate),
            **kwargs,
        )

    return build


_A2C = ("vf_coef", "ent_coef", "max_grad_norm")
_PPO = ("eps_clip", "value_clip", "advantage_normalization", "desired_kl", "learning_rate_min", "learning_rate_max")
_NPG = ("trust_region_size", "advantage_normalization")

_BUILDERS: dict[str, Callable[[TensorEnv, DictConfig], Algorithm]] = {
    "ppo": _on_policy(TensorPPO, *_A2C, *_PPO),
    "a2c": _on_policy(TensorA2C, *_A2C),
    "npg": _on_policy(TensorNPG, *_NPG),
    "trpo": _on_policy(TensorTRPO, *_NPG, "max_kl", "backtrack_coeff", "max_backtracks"),
}


def make_agent(name: str, env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """See `baselines.make_agent`."""
    if name not in _BUILDERS:
        raise ValueError(f"unknown learner {name!r}; valid: {', '.join(_BUILDERS)}")
    return _BUILDERS[name](env, cfg).to(env.device)


def losses(stats: TrainingStats) -> dict[str, float]:
    """What an update reported, by name."""
    values = stats.get_loss_stats_dict()
    return {name: float(value) for name, value in values.items() if name != "gradient_steps"}


def actor_layers(algorithm: Algorithm, env: TensorEnv) -> tuple[list[nn.Module], bool, torch.Tensor | None]:
    """The feed-forward layers that act deterministically, whether tanh follows them, and the discrete actions."""
    actor = algorithm.policy.actor
    return [*actor.preprocess.model.model, *actor.mu.model], False, None


# What an update depends on and `Algorithm.state_dict` leaves out.
_COUNTERS: tuple[str, ...] = ()


def agent_state(algorithm: Algorithm) -> dict[str, Any]:
    """Networks, optimisers and counters."""
    return {
        "modules": algorithm.state_dict(),
        "counters": {name: getattr(algorithm, name) for name in _COUNTERS if hasattr(algorithm, name)},
    }


def load_agent_state(algorithm: Algorithm, state: dict[str, Any]) -> None:
    """Undo `agent_state`."""
    algorithm.load_state_dict(dict(state["modules"]))  # Tianshou removes a key from what it is given
    for name, value in state["counters"].items():
        setattr(algorithm, name, value)
