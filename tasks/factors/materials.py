"""Friction and restitution of all surfaces of an asset, per env, on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import warp as wp

if TYPE_CHECKING:
    from tasks.isaaclab.lab_env import LabEnv

STEP = 0.01
"""Coefficients are rounded to this: PhysX can hold 64,000 different materials."""


class Surfaces:
    """What the surfaces of an asset are like.

    Attributes:
        friction: [N] factor on the coefficients of friction.
        restitution: [N] coefficient of restitution.
    """

    def __init__(self, env: LabEnv, asset: Any) -> None:
        """Read the surfaces as built."""
        self._asset = asset
        self._newton = env.engine == "newton_mjwarp"
        if self._newton:
            model, view = env.physics_manager.get_model(), asset._root_view
            self._changed = lambda: env.physics_manager.add_model_change(_shape_properties())
            names = ("shape_material_mu", "shape_material_restitution")
            # One [N, shapes] for each body of a collection, and one for an articulation.
            self._mu, self._bounce = (
                [wp.to_torch(view.get_attribute(name, model)[:, k]) for k in range(view.count_per_world)]
                for name in names
            )
            self._default = [mu.clone() for mu in self._mu]
        else:
            self._default = self._read().clone()
            self._values = self._default.clone()
            bodies = len(self._default) // env.num_envs  # of a collection: its rows are body by body
            self._first = torch.arange(bodies)[:, None] * env.num_envs
        self.friction = torch.ones(env.num_envs, device=env.device)
        self.restitution = torch.zeros(env.num_envs, device=env.device)

    def _read(self) -> torch.Tensor:
        view = self._asset.root_view
        if hasattr(view, "get_material_properties"):  # Isaac Sim
            return wp.to_torch(view.get_material_properties())
        from isaaclab_ov import tensor_types

        articulation = hasattr(self._asset, "joint_names")
        kinds = ("SHAPE_FRICTION_AND_RESTITUTION", "RIGID_BODY_SHAPE_FRICTION_AND_RESTITUTION")
        self._kind = getattr(tensor_types, kinds[0] if articulation else kinds[1])
        return wp.to_torch(view.get_attribute(self._kind))

    def _rounded(self) -> torch.Tensor:
        return (torch.stack((self.friction, self.restitution)) / STEP).round() * STEP

    def write(self, env_ids: torch.Tensor) -> None:
        """Hand the coefficients of rows `env_ids` to the engine."""
        if self._newton:
            friction, restitution = self._rounded()
            for mu, bounce, default in zip(self._mu, self._bounce, self._default, strict=True):
                mu.copy_(default * friction[:, None])
                bounce.copy_(restitution[:, None].expand_as(bounce))
            self._changed()
            return
        rows = (self._first + env_ids.cpu()).flatten()
        friction, restitution = self._rounded()[:, env_ids].repeat(1, len(self._first)).cpu()
        surfaces = self._default[rows]
        surfaces[..., :2] *= friction[:, None, None]
        bounce = restitution[:, None].expand_as(surfaces[..., 2])
        surfaces[..., 2] = torch.where(surfaces[..., 2] < 0.0, surfaces[..., 2], bounce)  # negative: a compliant one
        self._values[rows] = surfaces
        view, values, indices = self._asset.root_view, wp.from_torch(self._values), wp.from_torch(rows.int())
        if hasattr(view, "set_material_properties"):
            view.set_material_properties(values, indices)
        else:
            view.set_attribute(self._kind, values, indices=indices)


def _shape_properties() -> Any:
    from newton import ModelFlags

    return ModelFlags.SHAPE_PROPERTIES
