"""The algorithms by name: the suite's own, and those of installed packages (entry points `gradus.algorithms`)."""

from __future__ import annotations

from typing import Any

from baselines.algorithms.definition import AlgorithmDef
from tasks.core.registry import Registry, instance_of

REFERENCES = ("random", "zero")
"""Policies that need no training and that results are compared with; no algorithm may have their names."""


def _wrong(name: str, found: Any) -> str | None:
    if reason := instance_of(AlgorithmDef)(name, found):
        return reason
    if found.name != name:
        return f"says that its name is {found.name!r}"
    return "has the name of a reference policy" if name in REFERENCES else None


ALGORITHMS: Registry[AlgorithmDef] = Registry(
    "gradus.algorithms",
    "algorithm",
    {
        "ppo": "baselines.algorithms.ppo:PPO",
        "a2c": "baselines.algorithms.a2c:A2C",
        "trpo": "baselines.algorithms.trpo:TRPO",
        "npg": "baselines.algorithms.npg:NPG",
        "sac": "baselines.algorithms.sac:SAC",
        "td3": "baselines.algorithms.td3:TD3",
        "ddpg": "baselines.algorithms.ddpg:DDPG",
        "redq": "baselines.algorithms.redq:REDQ",
        "dqn": "baselines.algorithms.dqn:DQN",
    },
    _wrong,
)


def get(name: str) -> AlgorithmDef:
    """The algorithm called `name`. Raises `ValueError` for another name, or for one that cannot be loaded."""
    if name not in ALGORITHMS:
        raise ValueError(f"unknown learner {str(name)[:60]!r}; valid: {', '.join(ALGORITHMS.names())}")
    return ALGORITHMS.get(name)
