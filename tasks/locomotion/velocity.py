"""Following a commanded velocity: what the tasks of the three walking robots declare alike.

Specs are read without torch, which `tasks.locomotion.legged` needs, so their common words and numbers live here.
"""

from __future__ import annotations

from tasks.spec import SafetyLimit, Term

COMMAND = Term("command", 3, "m/s, m/s, rad/s", "velocity forward and left, and yaw rate, to follow")


def observations(joints: int, goal: Term = COMMAND) -> tuple[Term, ...]:
    """What a policy sees of a robot with that many moving joints, and of what the robot is to do."""
    return (
        Term("linear_velocity", 3, "m/s", "of the base, in its own frame", sigma=0.1),
        Term("angular_velocity", 3, "rad/s", "of the base, in its own frame", sigma=0.1),
        Term("gravity", 3, "1", "direction of gravity in the base's frame", sigma=0.02),
        goal,
        Term("joint_position", joints, "rad", "relative to the standing pose", sigma=0.01),
        Term("joint_velocity", joints, "10 rad/s", sigma=0.08),
        Term("last_action", joints, "1"),
    )


def safety(foot_force: float, **speeds: SafetyLimit) -> dict[str, SafetyLimit]:
    """The limits on a walking robot; `foot_force` [N] is four times its weight, `speeds` are its joints' [rad/s]."""
    return {
        **speeds,
        "joint_position": SafetyLimit(0.0, "rad", "distance from a joint's position limit"),
        "joint_torque": SafetyLimit(1.0, "1", "torque that a joint's drive is asked for, of the most that it has"),
        "foot_force": SafetyLimit(foot_force, "N", "force on one foot: four times the robot's weight"),
    }


def success(planar: float, yaw: float) -> str:
    """The success criterion in words, for tolerances in [m/s] and [rad/s]."""
    return f"mean error of the planar velocity at most {planar} m/s and of the yaw rate at most {yaw} rad/s, not fallen"
