"""Gradus from Python: the names that a user of the library needs. A name is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers
    from baselines import names as algorithm_names
    from baselines.policy_file import load_policy, save_policy
    from curricula import names as curriculum_names
    from curricula.teacher import Teacher
    from leaderboard.build import build as build_site
    from leaderboard.build import read as read_board
    from suite import __version__
    from tasks import build as build_env
    from tasks import get as get_task
    from tasks import names as task_names
    from tasks.core.env import TensorEnv
    from tasks.spec import TaskSpec

_HOMES = {
    "task_names": ("tasks", "names"),
    "get_task": ("tasks", "get"),
    "build_env": ("tasks", "build"),
    "TaskSpec": ("tasks.spec", "TaskSpec"),
    "TensorEnv": ("tasks.core.env", "TensorEnv"),
    "Teacher": ("curricula.teacher", "Teacher"),
    "algorithm_names": ("baselines", "names"),
    "curriculum_names": ("curricula", "names"),
    "load_policy": ("baselines.policy_file", "load_policy"),
    "save_policy": ("baselines.policy_file", "save_policy"),
    "read_board": ("leaderboard.build", "read"),
    "build_site": ("leaderboard.build", "build"),
    "__version__": ("suite", "__version__"),
}
"""Where each name is at home."""

__all__ = [
    "TaskSpec",
    "Teacher",
    "TensorEnv",
    "__version__",
    "algorithm_names",
    "build_env",
    "build_site",
    "curriculum_names",
    "get_task",
    "load_policy",
    "read_board",
    "save_policy",
    "task_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gradus' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__]
