"""`go2-velocity`: the Go2 has to walk at a commanded velocity, whatever pushes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks import factors, velocity
from tasks.spec import PARTING_CONTACTS, GradeParam, SafetyLimit, TaskSpec, Term, View, axis_actions

if TYPE_CHECKING:
    import torch
    from isaaclab.assets import ArticulationCfg
    from isaaclab.envs import ManagerBasedRLEnvCfg

    from tasks.lab_env import GradedEnv, LabEnv

PLANAR_ERROR, YAW_ERROR = 0.25, 0.3  # [m/s], [rad/s]
SLOWEST = 0.4  # [m/s]: more than the tolerance, so standing still is never enough

SPEC = TaskSpec(
    name="go2-velocity",
    summary="Walk at a commanded velocity and yaw rate on flat ground, and stay up when pushed.",
    robot="Unitree Go2",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.go2_velocity:make_env",
    observations=velocity.observations(joints=12),
    actions=(Term("joint_target", 12, "0.5 rad", "target position of each joint, relative to the standing pose"),),
    physics_dt=1 / 200,
    decimation=4,
    episode_length_s=10.0,
    success=velocity.success(PLANAR_ERROR, YAW_ERROR),
    success_hold_s=0.0,
    success_when="end",
    grades={
        "speed": GradeParam((0.6, 0.9, 1.2, 1.8, 2.5), "m/s", "fastest commanded speed, in any direction"),
        "yaw_rate": GradeParam((0.3, 0.6, 1.0, 1.5, 2.5), "rad/s", "fastest commanded turn"),
        "push": GradeParam((0.0, 0.2, 0.5, 1.0, 1.5), "m/s", "largest change of velocity in a push, along each axis"),
    },
    budgets={"smoke": 100_000, "quick": 10_000_000, "full": 25_000_000},
    view=View(eye=(1.3, -1.3, 0.6), target=(0.0, 0.0, -0.08), follow=True, marks="tasks.locomotion:marks"),
    discrete_actions=axis_actions(12),
    sensors=("contact force of the feet",),
    safety=velocity.safety(
        foot_force=630.0,
        joint_velocity=SafetyLimit(30.1, "rad/s", "speed of a hip or thigh, limit in Unitree's URDF"),
        calf_velocity=SafetyLimit(15.7, "rad/s", "speed of a calf, limit in Unitree's URDF"),
    ),
    factors=factors.legged("base", weight=15.0, length=0.4, torque=23.7),
    assets=("go2",),
    inexact=PARTING_CONTACTS,
)

JOINTS = tuple(f"{leg}_{joint}_joint" for joint in ("hip", "thigh", "calf") for leg in ("FL", "FR", "RL", "RR"))
FEET = ".*_calf"  # the converter merges a foot into its calf
STANDING = {".*L_hip_joint": 0.1, ".*R_hip_joint": -0.1, "F._thigh_joint": 0.8, "R._thigh_joint": 1.0}
STANDING |= {".*_calf_joint": -1.5}
SPEEDS = {"joint_velocity": ".*_(hip|thigh)_joint", "calf_velocity": ".*_calf_joint"}  # safety limit: its joints
FALLEN_BELOW = 0.18  # [m]


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    from tasks import locomotion
    from tasks.lab_env import LabEnv

    newton = {"njmax": 120, "nconmax": 40, "cone": "pyramidal", "impratio": 1, "use_mujoco_contacts": False}
    limits = locomotion.safety(spec.safety, SPEEDS)
    return LabEnv(
        spec, env_cfg(), success, safety=limits, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def robot() -> ArticulationCfg:
    """The Go2, its joints under position control with the gains and limits of Isaac Lab's own Go2."""
    from isaaclab.actuators import ImplicitActuatorCfg

    from tasks import locomotion, terms

    legs = ImplicitActuatorCfg(
        joint_names_expr=[".*"],
        joint_effort_limit={".*_hip_joint|.*_thigh_joint": 23.7, ".*_calf_joint": 45.43},  # [N·m]
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness=25.0,
        damping=0.5,
        armature={".*_hip_joint|.*_thigh_joint": 0.0045, ".*_calf_joint": 0.0165},
    )
    return locomotion.legged("go2", height=0.33, pose=STANDING, actuators={"legs": legs})


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
        rewards=locomotion.quadruped_rewards(tilt=-2.5, torque=-2e-4, steps=0.25),
    )


def success(env: GradedEnv) -> torch.Tensor:
    """The command was followed to the end, and the robot is up [N] bool."""
    from tasks import locomotion

    return locomotion.followed(env, PLANAR_ERROR, YAW_ERROR) & ~locomotion.fallen(env, FALLEN_BELOW)
