"""Following a commanded velocity: what the tasks of the three walking robots declare alike.

Specs are read without torch, which `tasks.locomotion` needs, so their common words and numbers live here.
"""

from __future__ import annotations

from tasks.spec import Term

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


def success(planar: float, yaw: float) -> str:
    """The success criterion in words, for tolerances in [m/s] and [rad/s]."""
    return f"mean error of the planar velocity at most {planar} m/s and of the yaw rate at most {yaw} rad/s, not fallen"
