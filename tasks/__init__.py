"""Task declarations, engines, assets and the env adapter."""

from __future__ import annotations

from typing import Any

from tasks.core.build import build
from tasks.core.registry import Registry
from tasks.multitask.declare import SEPARATOR, declare
from tasks.spec import TaskSpec

__all__ = ["REGISTRY", "TaskSpec", "added", "build", "get", "known", "names", "register"]

_SUITE = {
    "cartpole-balance": "tasks.classic.cartpole_balance.spec:SPEC",
    "ant-run": "tasks.locomotion.ant_run.spec:SPEC",
    "go2-velocity": "tasks.locomotion.go2_velocity.spec:SPEC",
    "anymal-velocity": "tasks.locomotion.anymal_velocity.spec:SPEC",
    "g1-velocity": "tasks.locomotion.g1_velocity.spec:SPEC",
    "go2-terrain": "tasks.locomotion.go2_terrain.spec:SPEC",
    "franka-reach": "tasks.manipulation.franka_reach.spec:SPEC",
    "franka-push": "tasks.manipulation.franka_push.spec:SPEC",
    "franka-lift": "tasks.manipulation.franka_lift.spec:SPEC",
    "franka-stack": "tasks.manipulation.franka_stack.spec:SPEC",
    "franka-drawer": "tasks.manipulation.franka_drawer.spec:SPEC",
    "allegro-reorient": "tasks.dexterity.allegro_reorient.spec:SPEC",
}
_TEST = {
    "toy-reach": "tasks.toy.reach:SPEC",
    "toy-line": "tasks.toy.line:SPEC",
}  # run wherever they are named, not part of `all`


def _wrong(name: str, found: Any) -> str | None:
    if not isinstance(found, TaskSpec):
        return f"is a {type(found).__name__}, not a TaskSpec"
    return None if found.name == name else f"is registered under another name than that of its spec, {found.name!r}"


REGISTRY = Registry[TaskSpec]("gradus.tasks", "task", _SUITE | _TEST, _wrong)
"""All tasks; a package adds its own by entry points of the group `gradus.tasks`, each a `TaskSpec`."""


def names() -> list[str]:
    """Names of the suite's tasks: what `--task all` means."""
    return list(_SUITE)


def added() -> list[str]:
    """Names of the tasks that do not come with Gradus."""
    return [name for name in REGISTRY.names() if REGISTRY.origin(name)]


def known() -> list[str]:
    """Every name that `get` takes: the suite's tasks, the simulator-free ones for tests, and those of packages."""
    return REGISTRY.names()


def register(spec: TaskSpec) -> TaskSpec:
    """Add a task for this process alone, and return it. Raises `RegistryError` for a name that is taken."""
    REGISTRY.register(spec.name, spec)
    return spec


def get(name: str) -> TaskSpec:
    """The task's declaration, or the joint one of a set `a+b`, see `tasks.multitask.declare`.

    Raises `KeyError` for a name that is not in `known()`, and `ValueError` for tasks that have no policy in common or
    a package's task that cannot be used (`RegistryError`).
    """
    if SEPARATOR in name:
        return declare([get(part) for part in name.split(SEPARATOR)])
    return REGISTRY.get(name)
