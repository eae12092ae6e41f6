"""`g1-velocity`: the G1 has to walk at a commanded velocity on two legs, whatever pushes it."""

from __future__ import annotations

from tasks.factors import catalogue
from tasks.locomotion import velocity
from tasks.spec import GradeParam, SafetyLimit, TaskSpec, Term, View, axis_actions

# A walking pelvis sways and turns with every step, so the tolerances are wider than those of the quadrupeds.
PLANAR_ERROR, YAW_ERROR = 0.35, 0.5  # [m/s], [rad/s]

SPEC = TaskSpec(
    name="g1-velocity",
    summary="Walk on two legs at a commanded velocity and yaw rate on flat ground, and stay up when pushed.",
    robot="Unitree G1",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.locomotion.g1_velocity.mdp:make_env",
    observations=velocity.observations(joints=12),
    actions=(Term("joint_target", 12, "0.5 rad", "target position of each leg joint, relative to the standing pose"),),
    physics_dt=1 / 200,
    decimation=4,
    episode_length_s=10.0,
    success=velocity.success(PLANAR_ERROR, YAW_ERROR),
    success_hold_s=0.0,
    success_when="end",
    grades={
        "speed": GradeParam((0.6, 0.8, 1.0, 1.5, 2.0), "m/s", "fastest commanded speed, within 30° of straight ahead"),
        "yaw_rate": GradeParam((0.3, 0.5, 0.8, 1.2, 1.6), "rad/s", "fastest commanded turn"),
        "push": GradeParam((0.0, 0.2, 0.4, 0.7, 1.0), "m/s", "largest change of velocity in a push, along each axis"),
    },
    budgets={"smoke": 60_000, "quick": 20_000_000, "full": 40_000_000},
    view=View(eye=(1.9, -1.9, 0.6), target=(0.0, 0.0, -0.15), follow=True, marks="tasks.locomotion.legged:marks"),
    discrete_actions=axis_actions(12),
    sensors=("contact force of the feet",),
    safety=velocity.safety(
        foot_force=1310.0,
        joint_velocity=SafetyLimit(20.0, "rad/s", "speed of a hip's roll or a knee, limit in Unitree's URDF"),
        swing_velocity=SafetyLimit(32.0, "rad/s", "speed of a hip's pitch or yaw, limit in Unitree's URDF"),
        ankle_velocity=SafetyLimit(30.0, "rad/s", "speed of an ankle, limit in Unitree's URDF"),
    ),
    factors=catalogue.legged("torso_link", weight=33.0, length=0.2, torque=25.0),
    assets=("g1",),
)
