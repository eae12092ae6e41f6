"""Commands of actions and forces at joints on OVPhysX, handed over whole instead of by index."""

from __future__ import annotations

from typing import Any

from isaaclab.envs.mdp import JointEffortAction, JointPositionAction
from isaaclab_ov import tensor_types

_DIRECT = (JointPositionAction.apply_actions, JointEffortAction.apply_actions)


def is_direct(term: Any) -> bool:
    """Whether OVPhysX takes the robot's buffers as they are: its joints have OVPhysX's order."""
    return type(term).apply_actions in _DIRECT and not term._asset.data.has_joint_ordering


class Command:
    """Hands over the command of an action term for all joints. Isaac Lab's way, by index, takes ten times as long."""

    def __init__(self, term: Any) -> None:
        """Find the buffer of the targets, and for positions also that of the engine. `submit_forces` submits forces."""
        robot, ids = term._asset, term._joint_ids
        self._term, self._columns = term, None if isinstance(ids, slice) else ids.long()
        target = robot.actuators.target_command
        self._write = None
        self._target = target.effort.torch
        if isinstance(term, JointPositionAction):
            self._target = target.position.torch
            self._write = robot.root_view.binding_for(tensor_types.DOF_POSITION_TARGET).write

    def apply_actions(self) -> None:
        """See Isaac Lab's `ActionTerm.apply_actions`."""
        command = self._term.processed_actions
        if self._columns is None:
            self._target.copy_(command)
        else:
            self._target.index_copy_(1, self._columns, command)
        if self._write:
            self._write(self._target)


def submit_forces(robot: Any) -> None:
    """Hand over the forces at the joints. The targets do not change, so they are not handed over."""
    if robot.data.has_joint_ordering:
        robot.actuators.submit_commands()
        return
    robot.root_view.set_attribute(tensor_types.DOF_ACTUATION_FORCE, robot.actuators.output_command.effort.warp)
