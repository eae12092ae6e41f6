"""`franka-push`: the Panda has to push a cube to a goal on the table."""

from __future__ import annotations

import math

from tasks.factors import catalogue
from tasks.manipulation import panda
from tasks.spec import GradeParam, TaskSpec, Term, View, axis_actions

SPEC = TaskSpec(
    name="franka-push",
    summary="Push a cube along the table to a goal, with the fingers closed.",
    robot="Franka Panda",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.manipulation.franka_push.mdp:make_env",
    observations=(
        *panda.arm_state("the start pose"),
        panda.TCP_POSITION,
        Term("cube_position", 3, "m", "from the TCP", sigma=0.005),
        Term("cube_axes", 6, "1", "directions of the cube's x and y axes", sigma=0.02),
        Term("cube_velocity", 3, "m/s", sigma=0.02),
        Term("goal_position", 2, "m", "from the cube, on the table", sigma=0.005),
        Term("last_action", 3, "1"),
    ),
    actions=(panda.HAND_MOTION,),
    physics_dt=1 / 100,
    decimation=5,
    episode_length_s=5.0,
    success="centre of the cube within the tolerance of the goal, on the table",
    success_hold_s=0.5,
    success_when="once",
    grades={
        "distance": GradeParam((0.12, 0.16, 0.2, 0.25, 0.3), "m", "largest distance from the cube to the goal"),
        "direction": GradeParam((0.4, 0.8, 1.6, 2.4, math.pi), "rad", "largest angle of the way from straight ahead"),
        "spread": GradeParam((0.02, 0.04, 0.06, 0.08, 0.1), "m", "half the edge of the square of the way's middle"),
        "yaw": GradeParam((0.1, 0.3, 0.5, 0.7, math.pi / 4), "rad", "largest turn of the cube at the start"),
        "cube_sizes": GradeParam((1, 1, 2, 3, 3), "1", "how many of the cubes with 5, 7 and 3.5 cm edge may come"),
        "tolerance": GradeParam((0.05, 0.04, 0.03, 0.02, 0.01), "m", "largest distance at the goal"),
    },
    budgets={"smoke": 100_000, "quick": 5_000_000, "full": 15_000_000},
    view=View(eye=(1.5, 0.9, 0.9), target=(0.3, -0.05, 0.15), marks="tasks.manipulation.franka_push.mdp:marks"),
    discrete_actions=axis_actions(3),
    sensors=("contact force of the fingers",),
    safety=panda.HANDLING_SAFETY,
    factors=catalogue.arm("panda_link7", "objects"),
    assets=("panda",),
)
