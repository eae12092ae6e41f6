"""`franka-stack`: the Panda has to put one cube on another, at the last grade a third one on top, and let go."""

from __future__ import annotations

import math

from tasks.factors import catalogue
from tasks.manipulation import panda
from tasks.spec import GradeParam, TaskSpec, Term, View

SPEC = TaskSpec(
    name="franka-stack",
    summary="Stack two cubes, at the last grade three, and let go of them.",
    robot="Franka Panda",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.manipulation.franka_stack.mdp:make_env",
    observations=(
        *panda.arm_state("the start pose"),
        panda.OPENING,
        panda.TCP_POSITION,
        Term("cube_position", 3, "m", "of the cube to be stacked now, from the TCP", sigma=0.005),
        Term("cube_axes", 6, "1", "directions of its x and y axes", sigma=0.02),
        Term("cube_velocity", 3, "m/s", sigma=0.02),
        Term("place", 3, "m", "where it belongs, from where it is", sigma=0.005),
        Term("base_axes", 6, "1", "directions of the x and y axes of the cube below that place", sigma=0.02),
        Term("last_action", 5, "1"),
    ),
    actions=(panda.HAND_MOTION, panda.HAND_TURN, panda.GRIPPER),
    physics_dt=1 / 100,
    decimation=5,
    episode_length_s=10.0,
    success="all cubes stacked and slower than 5 cm/s, the TCP 6 cm or more from the last one",
    success_hold_s=0.5,
    success_when="once",
    grades={
        "cubes": GradeParam((2, 2, 2, 2, 3), "1", "how many cubes to stack"),
        "bases": GradeParam((1, 1, 2, 3, 3), "1", "how many of the bases with 7, 5 and 4 cm edge may come"),
        "tops": GradeParam((1, 2, 2, 2, 2), "1", "how many of the cubes with 5 and 4 cm edge may come on it"),
        "spread": GradeParam((0.02, 0.04, 0.06, 0.09, 0.12), "m", "largest distance from the mean starts"),
        "bearing": GradeParam((0.3, 0.8, 1.6, 2.4, math.pi), "rad", "largest turn of the cubes' row at the start"),
        "yaw": GradeParam((0.1, 0.3, 0.5, 0.7, math.pi / 4), "rad", "largest turn of each cube at the start"),
    },
    budgets={"smoke": 100_000, "quick": 15_000_000, "full": 30_000_000},
    view=View(eye=(1.5, 0.9, 0.9), target=(0.3, -0.05, 0.15)),
    discrete_actions=panda.gripper_actions(4),
    sensors=("contact force of the fingers",),
    safety=panda.HANDLING_SAFETY,
    factors=catalogue.arm("panda_link7", "objects"),
    assets=("panda",),
)
