"""`anymal-velocity`: the ANYmal C has to walk at a commanded velocity, whatever pushes it."""

from __future__ import annotations

from tasks.factors import catalogue
from tasks.locomotion import velocity
from tasks.spec import GradeParam, SafetyLimit, TaskSpec, Term, View, axis_actions

PLANAR_ERROR, YAW_ERROR = 0.25, 0.3  # [m/s], [rad/s]

SPEC = TaskSpec(
    name="anymal-velocity",
    summary="Walk at a commanded velocity and yaw rate on flat ground, and stay up when pushed.",
    robot="ANYbotics ANYmal C",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.locomotion.anymal_velocity.mdp:make_env",
    observations=velocity.observations(joints=12),
    actions=(Term("joint_target", 12, "0.5 rad", "target position of each joint, relative to the standing pose"),),
    physics_dt=1 / 200,
    decimation=4,
    episode_length_s=10.0,
    success=velocity.success(PLANAR_ERROR, YAW_ERROR),
    success_hold_s=0.0,
    success_when="end",
    grades={
        "speed": GradeParam((0.6, 0.8, 1.0, 1.5, 2.0), "m/s", "fastest commanded speed, in any direction"),
        "yaw_rate": GradeParam((0.3, 0.6, 1.0, 1.5, 2.0), "rad/s", "fastest commanded turn"),
        "push": GradeParam((0.0, 0.2, 0.5, 1.0, 1.5), "m/s", "largest change of velocity in a push, along each axis"),
    },
    budgets={"smoke": 60_000, "quick": 10_000_000, "full": 25_000_000},
    view=View(eye=(1.9, -1.9, 0.8), target=(0.0, 0.0, -0.15), follow=True, marks="tasks.locomotion.legged:marks"),
    discrete_actions=axis_actions(12),
    sensors=("contact force of the feet",),
    safety=velocity.safety(
        foot_force=2050.0,
        joint_velocity=SafetyLimit(7.5, "rad/s", "speed of a joint, limit in ANYbotics' URDF"),
    ),
    factors=catalogue.legged("base", weight=52.0, length=0.6, torque=80.0),
    assets=("anymal",),
)
