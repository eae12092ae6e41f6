"""`anymal-velocity`: the ANYmal C has to walk at a commanded velocity, whatever pushes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks import factors, velocity
from tasks.spec import GradeParam, SafetyLimit, TaskSpec, Term, View, axis_actions

if TYPE_CHECKING:
    import torch
    from isaaclab.assets import ArticulationCfg
    from isaaclab.envs import ManagerBasedRLEnvCfg

    from tasks.lab_env import GradedEnv, LabEnv

PLANAR_ERROR, YAW_ERROR = 0.25, 0.3  # [m/s], [rad/s]
SLOWEST = 0.4  # [m/s]: more than the tolerance, so standing still is never enough

SPEC = TaskSpec(
    name="anymal-velocity",
    summary="Walk at a commanded velocity and yaw rate on flat ground, and stay up when pushed.",
    robot="ANYbotics ANYmal C",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.anymal_velocity:make_env",
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
    view=View(eye=(1.9, -1.9, 0.8), target=(0.0, 0.0, -0.15), follow=True, marks="tasks.locomotion:marks"),
    discrete_actions=axis_actions(12),
    sensors=("contact force of the feet",),
    safety=velocity.safety(
        foot_force=2050.0,
        joint_velocity=SafetyLimit(7.5, "rad/s", "speed of a joint, limit in ANYbotics' URDF"),
    ),
    factors=factors.legged("base", weight=52.0, length=0.6, torque=80.0),
    assets=("anymal",),
)

JOINTS = tuple(f"{leg}_{joint}" for joint in ("HAA", "HFE", "KFE") for leg in ("LF", "RF", "LH", "RH"))
FEET = ".*_SHANK"  # the converter merges a foot into its shank
STANDING = {".*_HAA": 0.0, ".F_HFE": 0.4, ".H_HFE": -0.4, ".F_KFE": -0.8, ".H_KFE": 0.8}
FALLEN_BELOW = 0.3  # [m]


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    from tasks import locomotion
    from tasks.lab_env import LabEnv

    newton = {"njmax": 100, "nconmax": 40, "cone": "pyramidal", "impratio": 10, "use_mujoco_contacts": False}
    limits = locomotion.safety(spec.safety, speeds={"joint_velocity": ".*"})
    return LabEnv(
        spec, env_cfg(), success, safety=limits, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def robot() -> ArticulationCfg:
    """The ANYmal C, its joints under position control.

    Effort limits are the drives'; gains are those of Rudin et al. 2022 (arXiv:2109.11978), as Isaac Lab's simple
    drive model is too soft to stand on without its motor model.
    """
    from isaaclab.actuators import ImplicitActuatorCfg

    from tasks import locomotion, terms

    legs = ImplicitActuatorCfg(
        joint_names_expr=[".*"],
        joint_effort_limit=80.0,  # [N·m]
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness=80.0,
        damping=2.0,
    )
    return locomotion.legged("anymal", height=0.56, pose=STANDING, actuators={"legs": legs})


def env_cfg() -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    from tasks import locomotion

    return locomotion.velocity_env_cfg(
        robot=robot(),
        joints=JOINTS,
        feet=FEET,
        action_scale=0.5,
        command=locomotion.TwistCommandCfg(slowest=SLOWEST, direction=math.pi),
        fallen_below=FALLEN_BELOW,
        rewards=locomotion.quadruped_rewards(tilt=-5.0, torque=-2.5e-5, steps=0.5),
    )


def success(env: GradedEnv) -> torch.Tensor:
    """The command was followed to the end, and the robot is up [N] bool."""
    from tasks import locomotion

    return locomotion.followed(env, PLANAR_ERROR, YAW_ERROR) & ~locomotion.fallen(env, FALLEN_BELOW)
