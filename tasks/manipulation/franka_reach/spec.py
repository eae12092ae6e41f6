"""`franka-reach`: the Panda's fingertips have to reach a pose and stay there."""

from __future__ import annotations

import math

from tasks.factors import catalogue
from tasks.manipulation import panda
from tasks.spec import GradeParam, TaskSpec, Term, View, axis_actions

SPEC = TaskSpec(
    name="franka-reach",
    summary="Bring the Panda's tool centre point (TCP) to a goal pose and hold it there.",
    robot="Franka Panda",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.manipulation.franka_reach.mdp:make_env",
    observations=(
        *panda.arm_state("home"),
        Term("goal_position", 3, "m", "in the base frame"),
        Term("position_error", 3, "m", "goal minus TCP, in the base frame", sigma=0.003),
        Term("rotation_error", 3, "rad", "from TCP to goal, as a rotation vector in the base frame", sigma=0.01),
        Term("last_action", 7, "1"),
    ),
    actions=(Term("joint_target", 7, "rad", "target position of each arm joint, relative to home"),),
    physics_dt=1 / 60,
    decimation=2,
    episode_length_s=4.0,
    success="TCP within the position and the rotation tolerance of the goal",
    success_hold_s=0.5,
    success_when="once",
    grades={
        "workspace": GradeParam((0.05, 0.1, 0.15, 0.2, 0.25), "m", "half the edge of the box of goal positions"),
        "rotation": GradeParam((0.0, 0.2, 0.4, 0.8, 1.6), "rad", "largest rotation of the goal from pointing down"),
        "position_tolerance": GradeParam((0.05, 0.04, 0.03, 0.02, 0.005), "m", "largest distance at the goal"),
        "rotation_tolerance": GradeParam((math.pi, 1.0, 0.5, 0.2, 0.05), "rad", "largest rotation at the goal"),
    },
    budgets={"smoke": 300_000, "quick": 2_000_000, "full": 5_000_000},
    view=View(eye=(1.7, 1.2, 1.0), target=(0.25, 0.0, 0.35), marks="tasks.manipulation.franka_reach.mdp:marks"),
    discrete_actions=axis_actions(7),
    safety=panda.SAFETY,
    factors=catalogue.arm("panda_link7"),
    assets=("panda",),
)
