"""Tianshou's algorithms on batched tensor envs: agents, learners, policy files, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from baselines.algorithms.registry import ALGORITHMS, REFERENCES
from baselines.errors import BufferTooLargeError, NonFiniteError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv

__all__ = ["BufferTooLargeError", "NonFiniteError", "known", "make_agent", "names", "reference_names"]


def names() -> list[str]:
    """Names of the suite's own learners: what `--algo all` means."""
    return ALGORITHMS.builtin_names()


def known() -> list[str]:
    """Names of all learners, which `--algo` takes: the suite's own, and those of installed packages."""
    for name in REFERENCES:
        if name in ALGORITHMS:
            ALGORITHMS.get(name)  # which says that this name is taken
    return ALGORITHMS.names()


def reference_names() -> list[str]:
    """Names of the policies that need no training and that results are compared with."""
    return list(REFERENCES)


def make_agent(name: str, env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """Build the Tianshou `Algorithm` called `name` on the env's device. Raises `ValueError` for another name."""
    from baselines.tianshou.agents import make_agent

    return make_agent(name, env, cfg)
