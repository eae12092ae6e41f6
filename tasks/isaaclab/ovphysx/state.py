"""Writes the state of some rows of a robot to OVPhysX, as a reset or a push does in nearly every step.

On OVPhysX, each of Isaac Lab's setters launches a kernel and takes a slow way to the engine. One of them also reads
the accelerations of all bodies. Here torch copies the rows into the data's own buffers, and OVPhysX takes these.
"""

from __future__ import annotations

from typing import Any

import torch
import warp
from isaaclab_ov import tensor_types
from isaaclab_ov.physics import OvPhysxManager

from tasks.core.env_state import EnvState
from tasks.isaaclab.ovphysx.dlpack import described
from tasks.isaaclab.ovphysx.names import HOME


def put_root(env: EnvState, env_ids: torch.Tensor, velocity: torch.Tensor, pose: torch.Tensor | None = None) -> None:
    """See `Runtime.put_root`; where `direct`."""
    data, rows = env.scene["robot"].data, env.rows(env_ids)
    if pose is not None:
        poses = data.root_link_pose_w.torch.index_copy_(0, rows, pose)
        data._reset_pose()
        env.once(_Writer).write(tensor_types.ROOT_POSE, poses, env_ids)
        _moved()
    velocities = data.root_com_vel_w.torch.index_copy_(0, rows, velocity)
    data._reset_velocity()
    env.once(_Writer).write(tensor_types.ROOT_VELOCITY, velocities, env_ids)


def put_joints(
    env: EnvState, env_ids: torch.Tensor, joints: torch.Tensor, position: torch.Tensor, rest: torch.Tensor
) -> None:
    """See `Runtime.put_joints`; where `direct`."""
    data, at = env.scene["robot"].data, (env.rows(env_ids)[:, None], joints)
    positions, velocities = data.joint_pos.torch, data.joint_vel.torch
    positions[at] = position
    for values in (velocities, *env.once(_differences)):
        values[at] = rest
    data._joint_acc.timestamp = data._sim_timestamp
    data._reset_pose()
    data._reset_velocity()
    env.once(_Writer).write(tensor_types.DOF_POSITION, positions, env_ids)
    env.once(_Writer).write(tensor_types.DOF_VELOCITY, velocities, env_ids)
    _moved()


def direct(env: EnvState) -> bool:
    """Whether OVPhysX takes the robot's buffers as they are: its joints have OVPhysX's order."""
    return HOME.usable() and not env.scene["robot"].data.has_joint_ordering


def _differences(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    """The velocities that the joints' accelerations are computed from, and the accelerations [N, J]."""
    data = env.scene["robot"].data
    return warp.to_torch(data._previous_joint_vel), warp.to_torch(data._joint_acc.data)


class _Writer:
    """Writes some rows of the robot's buffers. The rows are described once for several writes in turn."""

    def __init__(self, env: EnvState) -> None:
        self._view = env.scene["robot"].root_view
        self._buffers: dict[tuple[Any, int], Any] = {}
        self._ids: tuple[torch.Tensor | None, Any] = (None, None)  # those of the last write

    def write(self, kind: Any, values: torch.Tensor, env_ids: torch.Tensor) -> None:
        key = kind, values.data_ptr()
        if key not in self._buffers:
            self._buffers[key] = described(values)
        if self._ids[0] is not env_ids:
            self._ids = env_ids, described(env_ids)
        self._view.binding_for(kind).write(self._buffers[key], indices=self._ids[1])


def _moved() -> None:
    """Note that links have moved, so that their poses are computed anew."""
    OvPhysxManager.kinematics_dirty = True
    OvPhysxManager.get_scene_data_backend().transforms_timestamp += 1
