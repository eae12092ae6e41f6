"""`ant-run`: the ant has to run straight ahead, as fast as the grade asks, without falling."""

from __future__ import annotations

from tasks.factors import catalogue
from tasks.spec import GradeParam, SafetyLimit, TaskSpec, Term, View, axis_actions

SPEC = TaskSpec(
    name="ant-run",
    summary="Run along the x axis at the target speed or faster, without falling.",
    robot="ant (newton)",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.locomotion.ant_run.mdp:make_env",
    observations=(
        Term("height", 1, "m", "of the torso above the floor", sigma=0.01),
        Term("linear_velocity", 3, "m/s", "of the torso, in its own frame", sigma=0.1),
        Term("angular_velocity", 3, "rad/s", "of the torso, in its own frame", sigma=0.1),
        Term("gravity", 3, "1", "direction of gravity in the torso's frame", sigma=0.02),
        Term("heading", 2, "1", "to run in, in the torso's horizontal frame: (1, 0) is straight ahead", sigma=0.02),
        Term("joint_position", 8, "1", "from -1 at the lower to 1 at the upper limit", sigma=0.02),
        Term("joint_velocity", 8, "5 rad/s", sigma=0.1),
        Term("last_action", 8, "1"),
    ),
    actions=(Term("joint_torque", 8, "7.5 N·m", "torque of each joint"),),
    physics_dt=1 / 120,
    decimation=2,
    episode_length_s=8.0,
    success="mean speed along x since the start at least the target speed, torso above 0.31 m",
    success_hold_s=0.0,
    success_when="end",
    grades={"target_speed": GradeParam((0.75, 1.5, 3.0, 5.0, 8.0), "m/s", "mean speed to reach")},
    budgets={"smoke": 300_000, "quick": 10_000_000, "full": 20_000_000},
    view=View(eye=(2.3, -2.3, 1.5), target=(0.0, 0.0, -0.1), follow=True),
    discrete_actions=axis_actions(8),
    safety={
        "joint_velocity": SafetyLimit(20.0, "rad/s", "speed of a joint; the ant is no real robot, so a round number"),
        "joint_position": SafetyLimit(0.05, "rad", "how far a joint is beyond its position limit"),
    },
    factors=(
        catalogue.mass(),
        catalogue.friction(),
        catalogue.restitution(),
        catalogue.centre_of_mass("torso", 0.15),
        catalogue.action_strength(),
        catalogue.joint_damping("N·m·s/rad", 1.0),
        catalogue.armature(),
        catalogue.gravity(),
        catalogue.action_delay(),
        *catalogue.sensors(catalogue.calibration("joint_position", "1", 0.3)),
        catalogue.payload("torso", 0.4),
        catalogue.push("torso", 9.0),
        catalogue.action_step(),
    ),
    assets=("ant",),
)
