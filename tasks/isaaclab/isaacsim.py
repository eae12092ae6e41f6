"""Isaac Sim's PhysX, by Isaac Lab's public way."""

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from isaaclab_physx.physics import PhysxCfg

from tasks.core.env_state import PhysicalEnv
from tasks.factors.materials import PhysxSurfaces
from tasks.isaaclab.runtime import Runtime

PATCHES = 10 * 2**15
"""Contact patches for which PhysX keeps room on a GPU: twice its default, for 4096 robots on rough ground."""


class IsaacSim(Runtime):
    """See the module."""

    def physics_cfg(self, newton: dict[str, Any]) -> Any:
        """See `Runtime.physics_cfg`."""
        return PhysxCfg(gpu_max_rigid_patch_count=PATCHES)

    def surfaces(self, env: PhysicalEnv, asset: Any) -> PhysxSurfaces:
        """See `Runtime.surfaces`."""
        return _Surfaces(env, asset)


class _Surfaces(PhysxSurfaces):
    def read(self) -> torch.Tensor:
        """See `PhysxSurfaces.read`."""
        return wp.to_torch(self.view.get_material_properties())

    def hand_over(self, values: Any, indices: Any) -> None:
        """See `PhysxSurfaces.hand_over`."""
        self.view.set_material_properties(values, indices)


RUNTIME = IsaacSim()
