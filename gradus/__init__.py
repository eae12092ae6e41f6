"""Gradus from Python: the names that a user of the library needs. A name is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "task_names": ("tasks", "names"),
    "get_task": ("tasks", "get"),
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

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gradus' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__]
