"""Task declarations, engines, assets and the env adapter."""

from __future__ import annotations

from importlib import import_module

from tasks import joint
from tasks.spec import TaskSpec

_SUITE = {
    "cartpole-balance": "tasks.cartpole_balance",
    "ant-run": "tasks.ant_run",
    "go2-velocity": "tasks.go2_velocity",
    "anymal-velocity": "tasks.anymal_velocity",
    "g1-velocity": "tasks.g1_velocity",
    "go2-terrain": "tasks.go2_terrain",
    "franka-reach": "tasks.franka_reach",
    "franka-push": "tasks.franka_push",
    "franka-lift": "tasks.franka_lift",
    "franka-stack": "tasks.franka_stack",
    "franka-drawer": "tasks.franka_drawer",
    "allegro-reorient": "tasks.allegro_reorient",
}
_TEST = {"toy-reach": "tasks.toy", "toy-line": "tasks.toy_line"}  # run wherever they are named, not part of `all`


def names() -> list[str]:
    """Names of the suite's tasks: what `--task all` means."""
    return list(_SUITE)


def known() -> list[str]:
    """Every name that `get` takes: the suite's tasks and the simulator-free ones for tests."""
    return [*_SUITE, *_TEST]


def get(name: str) -> TaskSpec:
    """The task's declaration, or the joint one of a set `a+b`, see `tasks.joint`.

    Raises `KeyError` for a name that is not in `known()`, and `ValueError` for tasks that have no policy in common.
    """
    if joint.SEPARATOR in name:
        return joint.declare([get(part) for part in name.split(joint.SEPARATOR)])
    return import_module((_SUITE | _TEST)[name]).SPEC
