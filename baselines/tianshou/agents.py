"""Builds the Tianshou `Algorithm` that a config describes, and takes it apart for checkpoints and policy files."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig
from tianshou.algorithm import Algorithm
from tianshou.algorithm.algorithm_base import TrainingStats

from baselines.algorithms import registry as algorithms
from baselines.tianshou import private
from tasks.core.env import TensorEnv


def make_agent(name: str, env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """See `baselines.make_agent`."""
    private.HOME.demand()
    definition = algorithms.get(name)
    if definition.discrete and not env.spec.discrete_actions:
        raise ValueError(
            f"{env.spec.name} declares no discrete_actions, which {name} chooses from; use another learner"
        )
    algorithm = definition.build(env, cfg)
    if not isinstance(algorithm, Algorithm):
        raise TypeError(f"build of {name} gave {type(algorithm).__name__}, expected a Tianshou Algorithm")
    for method in ("act", "layers"):
        if not hasattr(algorithm.policy, method):
            raise TypeError(f"the policy of {name} has no method {method}, see baselines.algorithms.definition")
    for counter in definition.counters:
        if not hasattr(algorithm, counter):
            raise TypeError(f"{name} has no attribute {counter}, which its definition lists in counters")
    return algorithm.to(env.device)


def action_table(name: str, env: TensorEnv) -> torch.Tensor | None:
    """The actions [K, action_dim] that the learner `name` chooses from, None if it is continuous."""
    return torch.tensor(env.spec.discrete_actions, device=env.device) if algorithms.get(name).discrete else None


def losses(stats: TrainingStats) -> dict[str, float]:
    """What an update reported, by name."""
    values = stats.get_loss_stats_dict()
    return {name: float(value) for name, value in values.items() if name != "gradient_steps"}


def numbers(algorithm: Algorithm) -> dict[str, float]:
    """The attributes of an algorithm that are plain numbers."""
    return {name: value for name, value in vars(algorithm).items() if type(value) in (int, float)}


def agent_state(name: str, algorithm: Algorithm, before: dict[str, float]) -> dict[str, Any]:
    """Networks, optimisers (the temperature's too), statistics and counters.

    Raises `TypeError` for a number that training has changed since `before` (see `numbers`) and that the definition of
    the algorithm `name` does not list: a training that is resumed without it would take another path.
    """
    counters = algorithms.get(name).counters
    for attribute, value in numbers(algorithm).items():
        if value != before.get(attribute) and attribute not in counters:
            raise TypeError(f"training changes {attribute} of {name}: list it in the definition's counters")
    optimiser = private.temperature_optimiser(algorithm)
    return {
        "modules": algorithm.state_dict(),
        "alpha": None if optimiser is None else optimiser.state_dict(),
        "counters": {name: getattr(algorithm, name) for name in counters},
    }


def load_agent_state(algorithm: Algorithm, state: dict[str, Any]) -> None:
    """Undo `agent_state`."""
    algorithm.load_state_dict(dict(state["modules"]))  # Tianshou removes a key from what it is given
    if state["alpha"] is not None:
        private.temperature_optimiser(algorithm).load_state_dict(state["alpha"])
    for name, value in state["counters"].items():
        setattr(algorithm, name, value)
