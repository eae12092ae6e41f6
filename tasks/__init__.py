"""Task declarations, engines, assets and the env adapter."""

from __future__ import annotations

from importlib import import_module

from tasks.core import multitask
from tasks.spec import TaskSpec

_SUITE = {
    "cartpole-balance": "tasks.classic.cartpole_balance.spec",
    "ant-run": "tasks.locomotion.ant_run.spec",
    "go2-velocity": "tasks.locomotion.go2_velocity.spec",
    "anymal-velocity": "tasks.locomotion.anymal_velocity.spec",
    "g1-velocity": "tasks.locomotion.g1_velocity.spec",
    "go2-terrain": "tasks.locomotion.go2_terrain.spec",
    "franka-reach": "tasks.manipulation.franka_reach.spec",
    "franka-push": "tasks.manipulation.franka_push.spec",
    "franka-lift": "tasks.manipulation.franka_lift.spec",
    "franka-stack": "tasks.manipulation.franka_stack.spec",
    "franka-drawer": "tasks.manipulation.franka_drawer.spec",
    "allegro-reorient": "tasks.dexterity.allegro_reorient.spec",
}
_TEST = {"toy-reach": "tasks.toy.reach", "toy-line": "tasks.toy.line"}  # run wherever they are named, not part of `all`


def names() -> list[str]:
    """Names of the suite's tasks: what `--task all` means."""
    return list(_SUITE)


def known() -> list[str]:
    """Every name that `get` takes: the suite's tasks and the simulator-free ones for tests."""
    return [*_SUITE, *_TEST]


def get(name: str) -> TaskSpec:
    """The task's declaration, or the joint one of a set `a+b`, see `tasks.core.multitask`.

    Raises `KeyError` for a name that is not in `known()`, and `ValueError` for tasks that have no policy in common.
    """
    if multitask.SEPARATOR in name:
        return multitask.declare([get(part) for part in name.split(multitask.SEPARATOR)])
    return import_module((_SUITE | _TEST)[name]).SPEC
