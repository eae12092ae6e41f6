"""Tianshou's algorithms on batched tensor envs: agents, learners, policy files, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from baselines.errors import BufferTooLargeError, NonFiniteError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from tianshou.algorithm import Algorithm

    from tasks.core.env import TensorEnv

__all__ = ["BufferTooLargeError", "NonFiniteError", "make_agent", "names", "reference_names"]

_ON_POLICY = ("ppo", "a2c", "trpo", "npg")
_OFF_POLICY = ("sac", "td3", "ddpg", "redq", "dqn")


def names() -> list[str]:
    """Names of the learners, which `--algo` takes; `all` means these."""
    return [*_ON_POLICY, *_OFF_POLICY]


def reference_names() -> list[str]:
    """Names of the policies that need no training and that results are compared with."""
    return ["random", "zero"]


def make_agent(name: str, env: TensorEnv, cfg: DictConfig) -> Algorithm:
    """Build the Tianshou `Algorithm` called `name` on the env's device. Raises `ValueError` for another name."""
    from baselines.tianshou.agents import make_agent

    return make_agent(name, env, cfg)
