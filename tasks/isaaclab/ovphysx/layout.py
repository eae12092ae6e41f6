"""A repair of Isaac Lab's rigid-object collections on OVPhysX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tasks.isaaclab.ovphysx.names import COLLECTIONS


class _BodyAfterBody:
    """Stands in for a binding where Isaac Lab asks for nothing but its layout: [bodies * N, D]."""

    shape = (0,)


def mend(collection: Any) -> None:
    """Let a collection with as many bodies as a quantity is wide be read and written body after body, like all others.

    Isaac Lab takes a binding [bodies * N, D] for one of [N, bodies] where D is the number of bodies. So velocities
    (D = 6) of six bodies, such as the cubes of `franka-stack`, go to bodies of other envs and come from them. Poses
    (D = 7) of seven bodies would, too.

    Raises:
        RuntimeError: in one line, where Isaac Lab lacks what the repair takes.
    """
    COLLECTIONS.demand()
    for owner in (collection, collection.data):
        owner._get_binding = partial(_binding, owner._get_binding, collection)


def _binding(get: Callable[[int], Any], collection: Any, tensor_type: int) -> Any:
    binding = get(tensor_type)
    if binding is None or len(binding.shape) < 2 or binding.shape[1] != collection.num_bodies:
        return binding
    collection.data._read_view_scratch(tensor_type, binding)  # which it keeps, of the right shape
    return _BodyAfterBody
