"""MuJoCo-Warp on Newton as an engine, see `tasks.isaaclab.runtime.Runtime`."""

from __future__ import annotations

import sys
from typing import Any

import torch
import warp as wp
from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg, NewtonCollisionPipelineCfg
from newton import ModelFlags

from tasks.core.env_state import PhysicalEnv
from tasks.core.fast import Home
from tasks.factors import materials
from tasks.isaaclab.divergence import Watch
from tasks.isaaclab.newton.model import Changes
from tasks.isaaclab.overflow import Unknown
from tasks.isaaclab.runtime import Runtime

_LOSSES = ("NEFC", "NJMAX_NNZ", "BROADPHASE", "NARROWPHASE", "CCD", "HFIELD")  # other overflows lose no contact

COUNTERS = Home(
    "Isaac Lab on Newton",
    {"isaaclab": "3.0.0", "newton": "1.6.1", "mujoco-warp": "3.12.0"},
    {
        "isaaclab_newton.physics:NewtonManager": ("_solver", "_contacts", "_needs_collision_pipeline"),
        "newton.solvers:SolverMuJoCo": ("mjw_data",),
        "mujoco_warp._src.types:OverflowType": _LOSSES,
    },
)
"""What `Overflow` takes. Without it nothing is counted; the switch of fast paths does not matter."""


class Newton(Runtime):
    """See the module."""

    def physics_cfg(self, newton: dict[str, Any]) -> Any:
        """See `Runtime.physics_cfg`."""
        solver = dict(newton)
        triangles = solver.pop("max_triangle_pairs", None)
        collision = NewtonCollisionPipelineCfg(max_triangle_pairs=triangles) if triangles else None
        return NewtonCfg(
            solver_cfg=MJWarpSolverCfg(integrator="implicitfast", **solver), collision_cfg=collision, num_substeps=1
        )

    def overflow(self, manager: Any) -> Overflow | Unknown:
        """See `Runtime.overflow`."""
        if missing := COUNTERS.missing():
            print(f"{COUNTERS.library}: {missing[0]}; lost contacts are not counted", file=sys.stderr, flush=True)
            return Unknown()
        return Overflow(manager)

    def divergence(self, scene: Any, num_envs: int, device: torch.device) -> Watch:
        """See `Runtime.divergence`."""
        return Watch(scene, num_envs, device)

    def changes(self, num_envs: int, device: str) -> Changes:
        """See `Runtime.changes`."""
        return Changes(num_envs, device)

    def surfaces(self, env: PhysicalEnv, asset: Any) -> Surfaces:
        """See `Runtime.surfaces`."""
        return Surfaces(env, asset)


class Surfaces(materials.Surfaces):
    """Of all shapes, in the model that all envs share."""

    def __init__(self, env: PhysicalEnv, asset: Any) -> None:
        """Read the surfaces as built."""
        super().__init__(env)
        model, view = env.physics_manager.get_model(), asset.root_view
        self._manager = env.physics_manager
        names = ("shape_material_mu", "shape_material_restitution")
        # One [N, shapes] for each body of a collection, and one for an articulation.
        self._mu, self._bounce = (
            [wp.to_torch(view.get_attribute(name, model)[:, k]) for k in range(view.count_per_world)] for name in names
        )
        self._default = [mu.clone() for mu in self._mu]

    def write(self, env_ids: torch.Tensor) -> None:
        """See `Surfaces.write`."""
        friction, restitution = self.rounded()
        for mu, bounce, default in zip(self._mu, self._bounce, self._default, strict=True):
            mu.copy_(default * friction[:, None])
            bounce.copy_(restitution[:, None].expand_as(bounce))
        self._manager.add_model_change(ModelFlags.SHAPE_PROPERTIES)


class Overflow:
    """Counts control steps in which buffers of MuJoCo-Warp (`njmax`, `nconmax`) or Newton overflowed, on the device."""

    def __init__(self, manager: Any) -> None:
        """`manager` is Isaac Lab's handle of the running engine."""
        from mujoco_warp._src.types import OverflowType  # which may be missing, see `COUNTERS`

        self._kinds = int(sum(OverflowType[kind] for kind in _LOSSES))
        data, contacts = manager._solver.mjw_data, manager._contacts
        self._flags = wp.to_torch(data.overflow)
        self._steps = torch.zeros((), dtype=torch.long, device=self._flags.device)
        self._count = None
        if manager._needs_collision_pipeline:  # contacts are Newton's own, and handed to MuJoCo-Warp
            self._count = wp.to_torch(contacts.rigid_contact_count)
            self._room = min(contacts.rigid_contact_max, data.naconmax)

    def note(self) -> None:
        """Call after every control step."""
        lost = ((self._flags & self._kinds) != 0).any()
        if self._count is not None:
            lost |= (self._count > self._room).any()
        self._steps += lost
        self._flags.zero_()  # MuJoCo-Warp only ever adds to them

    def steps(self) -> int:
        """Control steps so far in which a buffer overflowed. Waits for the device."""
        return int(self._steps)


RUNTIME = Newton()
