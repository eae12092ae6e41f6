"""OVPhysX as an engine, see `tasks.isaaclab.runtime.Runtime`."""

from __future__ import annotations

import logging
import os
from typing import Any

import ovphysx
import torch
import warp as wp
from isaaclab_ov import tensor_types
from isaaclab_ov.physics import OvPhysxCfg

from tasks.core.engines import PHYSX_THREADS
from tasks.core.env_state import EnvState, PhysicalEnv
from tasks.factors.materials import PhysxSurfaces
from tasks.isaaclab.isaacsim import PATCHES
from tasks.isaaclab.overflow import LOST
from tasks.isaaclab.ovphysx import state, stepping
from tasks.isaaclab.runtime import Runtime


class OvPhysx(Runtime):
    """The kit-less PhysX."""

    def physics_cfg(self, newton: dict[str, Any]) -> Any:
        """See `Runtime.physics_cfg`."""
        return OvPhysxCfg(gpu_max_rigid_patch_count=PATCHES)

    def prepare(self) -> None:
        """Let PhysX have the threads that `PHYSX_THREADS` says.

        Isaac Lab gives it eight, which look for work all the time: too many where several simulations share the cores.
        On a CPU the simulation of tasks that PhysX repeats is the same with any number.
        """
        if PHYSX_THREADS in os.environ:
            config, threads = ovphysx.PhysXConfig, int(os.environ[PHYSX_THREADS])
            ovphysx.PhysXConfig = lambda **settings: config(**settings | {"num_threads": threads})

    def set_scenery(self, entity: Any) -> None:
        """The renderer's context alone copies it to all envs: on CUDA OVPhysX clones nothing that has no physics."""
        entity.cloning_contexts = ()

    def stepper(self, env: EnvState) -> Any:
        """See `Runtime.stepper`."""
        return stepping.make(env)

    def put_root(
        self, env: EnvState, env_ids: torch.Tensor, velocity: torch.Tensor, pose: torch.Tensor | None = None
    ) -> None:
        """See `Runtime.put_root`."""
        put = state.put_root if env.once(state.direct) else super().put_root
        put(env, env_ids, velocity, pose)

    def put_joints(
        self, env: EnvState, env_ids: torch.Tensor, joints: torch.Tensor, position: torch.Tensor, rest: torch.Tensor
    ) -> None:
        """See `Runtime.put_joints`."""
        put = state.put_joints if env.once(state.direct) else super().put_joints
        put(env, env_ids, joints, position, rest)

    def overflow(self, manager: Any) -> Overflow:
        """See `Runtime.overflow`."""
        return Overflow()

    def surfaces(self, env: PhysicalEnv, asset: Any) -> PhysxSurfaces:
        """See `Runtime.surfaces`."""
        return Surfaces(env, asset)


class Surfaces(PhysxSurfaces):
    """Those of an articulation, or of a collection of rigid bodies."""

    def __init__(self, env: PhysicalEnv, asset: Any) -> None:
        """Read the surfaces as built."""
        kinds = ("SHAPE_FRICTION_AND_RESTITUTION", "RIGID_BODY_SHAPE_FRICTION_AND_RESTITUTION")
        self._kind = getattr(tensor_types, kinds[0] if hasattr(asset, "joint_names") else kinds[1])
        super().__init__(env, asset)

    def read(self) -> torch.Tensor:
        """See `PhysxSurfaces.read`."""
        return wp.to_torch(self.view.get_attribute(self._kind))

    def hand_over(self, values: Any, indices: Any) -> None:
        """See `PhysxSurfaces.hand_over`."""
        self.view.set_attribute(self._kind, values, indices=indices)


class Overflow(logging.Handler):
    """Counts what PhysX's log says about contacts without room. Only on a GPU has PhysX such buffers."""

    def __init__(self) -> None:
        """Listen to the log of the kit-less PhysX."""
        super().__init__(logging.WARNING)
        self._messages = 0
        logger = logging.getLogger("gradus.ovphysx")
        logger.propagate = False  # PhysX prints it itself
        logger.addHandler(self)
        ovphysx.enable_python_logging(logger.name, min_severity=ovphysx.LogLevel.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        self._messages += bool(LOST.search(record.getMessage()))

    def note(self) -> None:
        """Nothing to do: the log counts."""

    def steps(self) -> int:
        """Messages so far; there is one in every physics step that loses contacts, or fewer."""
        return self._messages


RUNTIME = OvPhysx()
