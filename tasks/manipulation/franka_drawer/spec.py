"""`franka-drawer`: the Panda has to pull a drawer open by its handle."""

from __future__ import annotations

from tasks.factors import catalogue
from tasks.manipulation import panda
from tasks.spec import PARTING_CONTACTS, GradeParam, TaskSpec, Term, View

SPEC = TaskSpec(
    name="franka-drawer",
    summary="Pull one of three drawers open by its handle, and past a target.",
    robot="Franka Panda",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.manipulation.franka_drawer.mdp:make_env",
    observations=(
        *panda.arm_state("the start pose"),
        panda.OPENING,
        panda.TCP_POSITION,
        Term("handle_position", 3, "m", "middle of the handle, from the TCP", sigma=0.005),
        Term("drawer_position", 1, "m", "how far the drawer is open", sigma=0.005),
        Term("drawer_velocity", 1, "m/s", sigma=0.02),
        Term("last_action", 4, "1"),
    ),
    actions=(panda.HAND_MOTION, panda.GRIPPER),
    physics_dt=1 / 100,
    decimation=5,
    episode_length_s=5.0,
    success="drawer open past the target",
    success_hold_s=0.5,
    success_when="once",
    grades={
        "handles": GradeParam((1, 1, 2, 3, 3), "1", "how many of the drawers may be asked for: 16, 10, 6 cm handle"),
        "friction": GradeParam((5.0, 15.0, 30.0, 50.0, 80.0), "N", "largest force that the drawers' rails hold back"),
        "target": GradeParam((0.08, 0.12, 0.16, 0.2, 0.28), "m", "how far the drawer has to be open"),
        "start": GradeParam((0.05, 0.1, 0.15, 0.2, 0.25), "rad", "largest distance of each joint from the start pose"),
    },
    budgets={"smoke": 100_000, "quick": 5_000_000, "full": 10_000_000},
    view=View(eye=(-0.45, 1.15, 0.9), target=(0.45, -0.05, 0.25)),
    discrete_actions=panda.gripper_actions(3),
    sensors=("contact force of the fingers",),
    safety=panda.HANDLING_SAFETY,
    factors=catalogue.arm("panda_link7", "cabinet"),
    assets=("panda",),
    inexact=PARTING_CONTACTS,
)
