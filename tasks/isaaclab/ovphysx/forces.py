"""Forces on an asset's bodies in a control step: at their centres of mass, in the world's frame.

Whoever pushes adds to `on_bodies` before the physics of a control step; afterwards it is zero again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import warp


class Composed:
    """Isaac Lab's way: its composer's forces are handed over before every physics step, with all else.

    With OVPhysX, Isaac Lab lets them act at the origins of links: a body whose centre of mass is elsewhere is turned.

    Attributes:
        on_bodies: forces [N, bodies, 3] [N].
    """

    def __init__(self, asset: Any) -> None:
        """No force on any body."""
        self._composer = asset.permanent_wrench_composer
        none = torch.zeros(asset.num_instances, asset.num_bodies, 3, device=asset.device)
        self._composer.set_forces_and_torques_index(forces=none, is_global=True)
        # Adding to the buffer itself takes a tenth of the time of the composer's setter.
        self.on_bodies = warp.to_torch(self._composer.global_force_at_com_w)

    def include(self, bodies: Sequence[int]) -> None:
        """`bodies` may be pushed: any may."""

    def hand_over(self, step: int) -> None:
        """Let the composer know before physics step `step` that forces have changed."""
        self._composer._dirty = True

    def clear(self) -> None:
        """The physics of the control step is over."""
        self.on_bodies.zero_()


class Direct:
    """Forces on a robot of OVPhysX, which forgets them in each physics step: with the points where they act.

    Centres of mass are read at the start of a control step and go on from there at the velocity that they had then. The
    neglected part is their acceleration's: with that of gravity, 1.5 mm before the fourth step of 5 ms.

    Attributes:
        on_bodies: forces [N, bodies, 3] [N].
    """

    def __init__(self, robot: Any, dt: float) -> None:
        """No force on any body; `dt` [s] is the time of a physics step. The robot's bodies have PhysX's order."""
        self._robot, self._data, self._dt = robot, robot.data, dt
        self.on_bodies = torch.zeros(robot.num_instances, robot.num_bodies, 3, device=robot.device)
        self._root_alone = True
        self._bind(_root(robot), 1)

    def _bind(self, binding: Any, bodies: int) -> None:
        """Let `binding` take the forces on the first `bodies` bodies: each with a torque, zero, and its point."""
        self._wrench = torch.zeros(len(self.on_bodies), bodies, 9, device=self.on_bodies.device)
        self._forces, self._at = self._wrench[..., :3], self._wrench[..., 6:]
        self._handed = self._wrench.view(binding.shape)  # one object: the binding knows it again
        self._write = binding.write

    def include(self, bodies: Sequence[int]) -> None:
        """`bodies` may be pushed.

        The root alone is cheaper: other links are where an update of all kinematics says, and the forces on all of
        them are more for OVPhysX to take.
        """
        if self._root_alone and any(bodies):
            from isaaclab_ov import tensor_types

            self._root_alone = False
            self._bind(self._robot._root_view.binding_for(tensor_types.LINK_WRENCH), self._robot.num_bodies)

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
        """The physics of the control step is over."""
        self.on_bodies.zero_()


def _root(robot: Any) -> Any:
    """What takes a wrench [N, 9] on the root of each robot."""
    from isaaclab_ov import tensor_types
    from isaaclab_ov.sim.views.ovphysx_view import OvPhysxView

    view = robot._root_view
    roots = OvPhysxView(robot._ovphysx, prim_paths=view.prim_paths, device=robot.device)
    return roots.binding_for(tensor_types.RIGID_BODY_WRENCH)
