"""Handling things with the Panda: what its tasks declare alike.

Specs are read without torch, which `tasks.manipulation.franka` needs, so their common words and numbers live here.
"""

from __future__ import annotations

from tasks.spec import SafetyLimit, Term, axis_actions

SAFETY = {
    "joint_velocity": SafetyLimit(2.175, "rad/s", "slowest of the arm joints' limits in Franka's data sheet"),
    "joint_position": SafetyLimit(0.0, "rad", "distance from a joint's position limit"),
}
HANDLING_SAFETY = SAFETY | {
    "contact_force": SafetyLimit(70.0, "N", "on a finger: what the hand grasps with for long, in its data sheet"),
}

OPENING = Term("opening", 1, "4 cm", "mean travel of the fingers", sigma=0.02)
TCP_POSITION = Term("tcp_position", 3, "m", "in the frame of the env", sigma=0.003)

HAND_MOTION = Term("hand_motion", 3, "5 cm", "how far ahead of the TCP its target is")
HAND_TURN = Term("hand_turn", 1, "0.3 rad", "how far the hand is to turn about the vertical")
GRIPPER = Term("gripper", 1, "1", "0 and below: fingers open, 1: closed")


def arm_state(reference: str) -> tuple[Term, Term]:
    """What a policy sees of the arm's joints; positions are relative to the pose that `reference` names."""
    return (
        Term("joint_position", 7, "rad", f"of the arm, relative to {reference}", sigma=0.005),
        Term("joint_velocity", 7, "5 rad/s", sigma=0.02),
    )


def gripper_actions(motions: int) -> tuple[tuple[float, ...], ...]:
    """The discrete actions of a hand with so many axes of motion: `axis_actions`, with the fingers open and closed."""
    return tuple((*row, grip) for row in axis_actions(motions) for grip in (-1.0, 1.0))
