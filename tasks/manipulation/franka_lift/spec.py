"""`franka-lift`: the Panda has to grasp an object and hold it at a goal in the air."""

from __future__ import annotations

import math

from tasks.factors import catalogue
from tasks.manipulation import panda
from tasks.spec import PARTING_CONTACTS, GradeParam, TaskSpec, Term, View

SPEC = TaskSpec(
    name="franka-lift",
    summary="Grasp an object and hold it at a goal in the air.",
    robot="Franka Panda",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.manipulation.franka_lift.mdp:make_env",
    observations=(
        *panda.arm_state("the start pose"),
        panda.OPENING,
        panda.TCP_POSITION,
        Term("object_position", 3, "m", "from the TCP", sigma=0.005),
        Term("object_axes", 6, "1", "directions of the object's x and y axes", sigma=0.02),
        Term("object_velocity", 3, "m/s", sigma=0.02),
        Term("goal_position", 3, "m", "from the object", sigma=0.005),
        Term("last_action", 5, "1"),
    ),
    actions=(panda.HAND_MOTION, panda.HAND_TURN, panda.GRIPPER),
    physics_dt=1 / 100,
    decimation=5,
    episode_length_s=5.0,
    success="centre of the object within the tolerance of the goal",
    success_hold_s=0.5,
    success_when="once",
    grades={
        "objects": GradeParam((1, 2, 3, 4, 5), "1", "how many of cube, bar, can, small cube and ball may come"),
        "start_spread": GradeParam((0.02, 0.05, 0.08, 0.12, 0.15), "m", "half the edge of the square of starts"),
        "yaw": GradeParam((0.1, 0.3, 0.6, 1.0, math.pi / 2), "rad", "largest turn of the object at the start"),
        "goal_height": GradeParam((0.1, 0.14, 0.18, 0.22, 0.28), "m", "largest height of the goal above the start"),
        "goal_spread": GradeParam((0.02, 0.06, 0.1, 0.15, 0.2), "m", "half the edge of the square of goals"),
        "tolerance": GradeParam((0.05, 0.04, 0.03, 0.02, 0.005), "m", "largest distance at the goal"),
    },
    budgets={"smoke": 100_000, "quick": 8_000_000, "full": 15_000_000},
    view=View(eye=(1.5, 0.9, 0.9), target=(0.3, -0.05, 0.15), marks="tasks.manipulation.franka_lift.mdp:marks"),
    discrete_actions=panda.gripper_actions(4),
    sensors=("contact force of the fingers",),
    safety=panda.HANDLING_SAFETY,
    factors=catalogue.arm("panda_link7", "objects"),
    assets=("panda",),
    inexact=PARTING_CONTACTS,
)
