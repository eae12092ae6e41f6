"""`go2-terrain`: the Go2 has to reach a goal across slopes, rough ground, stairs or a gap."""

from __future__ import annotations

from tasks.locomotion import velocity
from tasks.locomotion.go2_velocity import spec as go2_velocity
from tasks.spec import PARTING_CONTACTS, GradeParam, TaskSpec, Term, View, axis_actions

NEAR = 0.4  # [m]

SPEC = TaskSpec(
    name="go2-terrain",
    summary="Reach a goal 3.2 m away, across a slope, rough ground, stairs or a gap.",
    robot="Unitree Go2",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.locomotion.go2_terrain.mdp:make_env",
    observations=(
        *velocity.observations(joints=12, goal=Term("goal", 2, "m", "forward and left", sigma=0.05)),
        Term("height_scan", 187, "m", "height of the base, less 0.3 m, over 17 x 11 points around it", sigma=0.02),
    ),
    actions=(Term("joint_target", 12, "0.5 rad", "target position of each joint, relative to the standing pose"),),
    physics_dt=1 / 200,
    decimation=4,
    episode_length_s=8.0,
    success=f"base within {NEAR} m of the goal, as seen from above, before the robot falls",
    success_hold_s=0.0,
    success_when="once",
    # Which kind an episode has is drawn at random. The ground cannot change while it is simulated, so it is a grid of
    # tiles: an episode takes place on the kind's tile whose difficulty is nearest to its own, of 17 from 0 to 1.
    grades={
        "slope": GradeParam((0.05, 0.15, 0.25, 0.4, 0.55), "1", "rise over run of the slopes, up or down"),
        "roughness": GradeParam((0.01, 0.02, 0.04, 0.06, 0.09), "m", "height of the rough ground, up or down"),
        "step": GradeParam((0.02, 0.05, 0.09, 0.14, 0.2), "m", "height of a stair 0.3 m deep, up or down"),
        "gap": GradeParam((0.05, 0.12, 0.2, 0.32, 0.45), "m", "width of the gap, which is 0.95 m deep"),
    },
    budgets={"smoke": 20_000, "quick": 10_000_000, "full": 25_000_000},
    view=View(eye=(3.6, -3.6, 2.6), target=(0.0, 0.0, -0.3), follow=True, marks="tasks.locomotion.terrain:marks"),
    discrete_actions=axis_actions(12),
    sensors=("contact force of the feet",),
    safety=go2_velocity.SPEC.safety,
    factors=go2_velocity.SPEC.factors,
    assets=("go2",),
    inexact=PARTING_CONTACTS,
)
