"""All private names of Tianshou that `baselines` uses. There is no public way to what they do.

`TensorAdvantages` and `TensorPPO` also replace `_add_returns_and_advantages` and `_update_with_batch`, and
`TensorTargets` replaces `_target_q`: hooks that Tianshou's own subclasses replace.
"""

from __future__ import annotations

from typing import Any

import torch
from tianshou.algorithm import Algorithm
from tianshou.algorithm.algorithm_base import LaggedNetworkAlgorithmMixin

from tasks.core.fast import Home

_MODELFREE = "tianshou.algorithm.modelfree"
HOME = Home(
    "Tianshou",
    {"tianshou": "2.0.1"},
    {
        "tianshou.algorithm.algorithm_base:Algorithm.Optimizer": ("_optim",),
        "tianshou.algorithm.algorithm_base:LaggedNetworkAlgorithmMixin": ("_lagged_networks",),
        "tianshou.utils.lagged_network:LaggedNetworkCollection": ("full_parameter_update",),
        "tianshou.algorithm.algorithm_base:Policy": ("_compile",),
        f"{_MODELFREE}.a2c:ActorCriticOnPolicyAlgorithm": ("_add_returns_and_advantages",),
        f"{_MODELFREE}.ppo:PPO": ("_update_with_batch",),
        f"{_MODELFREE}.ddpg:DDPG": ("_target_q", "_target_q_compute_action", "_target_q_compute_value"),
        f"{_MODELFREE}.sac:AutoAlpha": ("_optim",),
        f"{_MODELFREE}.td3:TD3": ("_cnt", "_last"),
        f"{_MODELFREE}.dqn:DQN": ("_iter",),
        f"{_MODELFREE}.redq:REDQ": ("critic_gradient_step", "_last_actor_loss"),
    },
)


def temperature_optimiser(algorithm: Algorithm) -> torch.optim.Optimizer | None:
    """The torch optimiser of the entropy temperature, or None where the algorithm has none or it is constant."""
    return getattr(getattr(algorithm, "alpha", None), "_optim", None)


def update_targets(algorithm: Algorithm) -> None:
    """Copy the networks to their target networks, where the algorithm has any."""
    if isinstance(algorithm, LaggedNetworkAlgorithmMixin):
        algorithm._lagged_networks.full_parameter_update()


def learning_rates(algorithm: Algorithm) -> list[dict[str, Any]]:
    """Groups of parameters of the torch optimiser of an on-policy algorithm, each with its `lr`."""
    return algorithm.optim._optim.param_groups
