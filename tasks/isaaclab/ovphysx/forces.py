"""Forces on a robot's bodies during a control step, at their centres of mass, in the world's frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from isaaclab_ov import tensor_types
from isaaclab_ov.physics import OvPhysxManager
from isaaclab_ov.sim.views import OvPhysxView


class Direct:
    """Forces on a robot that go to OVPhysX with the points where they act. OVPhysX forgets them in each physics step.

    The centres of mass are read at the start of a control step. Then they move on at the velocity of that moment. The
    part from their acceleration is neglected: under gravity it is 1.5 mm before the fourth step of 5 ms.

    Attributes:
        on_bodies: forces [N, bodies, 3] [N].
    """

    def __init__(self, robot: Any, dt: float) -> None:
        """Set all forces to zero. `dt` [s] is the time of a physics step. The robot's bodies have PhysX's order."""
        self._robot, self._data, self._dt = robot, robot.data, dt
        self.on_bodies = torch.zeros(robot.num_instances, robot.num_bodies, 3, device=robot.device)
        self._root_alone = True
        self._bind(_root(robot), 1)

    def _bind(self, binding: Any, bodies: int) -> None:
        """Let `binding` take the forces on the first `bodies` bodies, each with a torque of zero and its point."""
        self._wrench = torch.zeros(len(self.on_bodies), bodies, 9, device=self.on_bodies.device)
        self._forces, self._at = self._wrench[..., :3], self._wrench[..., 6:]
        self._handed = self._wrench.view(binding.shape)  # always the same object: the binding knows it again
        self._write = binding.write

    def include(self, bodies: Sequence[int]) -> None:
        """Let `bodies` be pushed.

        The root alone is cheaper. The places of other links take an update of all kinematics, and OVPhysX takes longer
        for the forces on all of them.
        """
        if self._root_alone and any(bodies):
            self._root_alone = False
            self._bind(self._robot.root_view.binding_for(tensor_types.LINK_WRENCH), self._robot.num_bodies)

    def hand_over(self, step: int) -> None:
        """Let the forces act in physics step `step` of the control step."""
        data = self._data
        if step > 0:
            self._at.add_(self._velocity, alpha=self._dt)
        elif self._root_alone:
            self._forces.copy_(self.on_bodies[:, :1])
            self._at.copy_(data.root_com_pose_w.torch[:, None, :3])
            self._velocity = data.root_com_vel_w.torch[:, None, :3]
        else:
            self._forces.copy_(self.on_bodies)
            self._at.copy_(data.body_com_pose_w.torch[..., :3])
            self._velocity = data.body_com_vel_w.torch[..., :3]
        self._write(self._handed)

    def clear(self) -> None:
        """Set all forces to zero after the physics of a control step."""
        self.on_bodies.zero_()


def _root(robot: Any) -> Any:
    """The binding that takes a wrench [N, 9] on the root of each robot."""
    physx = OvPhysxManager.get_physx_instance()
    roots = OvPhysxView(physx, prim_paths=robot.root_view.prim_paths, device=robot.device)
    return roots.binding_for(tensor_types.RIGID_BODY_WRENCH)
