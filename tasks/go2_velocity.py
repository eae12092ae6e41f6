"""`go2-velocity`: the Go2 has to walk at a commanded velocity, whatever pushes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tasks import factors
from tasks.spec import GradeParam, SafetyLimit, TaskSpec, Term, View, axis_actions

if TYPE_CHECKING:
    import torch
    from isaaclab.assets import ArticulationCfg
    from isaaclab.envs import ManagerBasedRLEnvCfg

    from tasks.lab_env import GradedEnv, LabEnv

SPEC = TaskSpec(
    name="go2-velocity",
    summary="Walk at a commanded velocity and yaw rate on flat ground, and stay up when pushed.",
    robot="Unitree Go2",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.go2_velocity:make_env",
    observations=(
        Term("linear_velocity", 3, "m/s", "of the base, in its own frame", sigma=0.1),
        Term("angular_velocity", 3, "rad/s", "of the base, in its own frame", sigma=0.1),
        Term("gravity", 3, "1", "direction of gravity in the base's frame", sigma=0.02),
        Term("command", 3, "m/s, m/s, rad/s", "velocity forward and left, and yaw rate, to follow"),
        Term("joint_position", 12, "rad", "relative to the standing pose", sigma=0.01),
        Term("joint_velocity", 12, "10 rad/s", sigma=0.08),
        Term("last_action", 12, "1"),
    ),
    actions=(Term("joint_target", 12, "0.5 rad", "target position of each joint, relative to the standing pose"),),
    physics_dt=1 / 200,
    decimation=4,
    episode_length_s=10.0,
    success="mean error of the planar velocity at most 0.25 m/s and of the yaw rate at most 0.3 rad/s, not fallen",
    success_hold_s=0.0,
    success_when="end",
    grades={
        "speed": GradeParam((0.6, 0.9, 1.2, 1.8, 2.5), "m/s", "fastest commanded speed, in any direction"),
        "yaw_rate": GradeParam((0.3, 0.6, 1.0, 1.5, 2.5), "rad/s", "fastest commanded turn"),
        "push": GradeParam((0.0, 0.2, 0.5, 1.0, 1.5), "m/s", "largest change of velocity in a push, along each axis"),
    },
    budgets={"smoke": 100_000, "quick": 20_000_000, "full": 100_000_000},
    view=View(eye=(1.3, -1.3, 0.6), target=(0.0, 0.0, -0.08), follow=True, marks="tasks.locomotion:marks"),
    discrete_actions=axis_actions(12),
    sensors=("contact force of the feet",),
    safety={
        "joint_velocity": SafetyLimit(30.1, "rad/s", "speed of a hip or thigh, limit in Unitree's URDF"),
        "calf_velocity": SafetyLimit(15.7, "rad/s", "speed of a calf, limit in Unitree's URDF"),
        "joint_position": SafetyLimit(0.0, "rad", "distance from a joint's position limit"),
        "foot_force": SafetyLimit(630.0, "N", "force on one foot: four times the robot's weight"),
    },
    factors=factors.legged("base", weight=15.0, length=0.4, torque=23.7),
    assets=("go2",),
)

JOINTS = tuple(f"{leg}_{joint}_joint" for joint in ("hip", "thigh", "calf") for leg in ("FL", "FR", "RL", "RR"))
FEET = ".*_calf"  # the converter merges a foot into its calf
STANDING = {".*L_hip_joint": 0.1, ".*R_hip_joint": -0.1, "F._thigh_joint": 0.8, "R._thigh_joint": 1.0}
STANDING |= {".*_calf_joint": -1.5}
SLOWEST = 0.4  # [m/s]: more than the tolerance, so standing still is never enough
FALLEN_BELOW = 0.18  # [m]


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    from tasks.lab_env import LabEnv

    newton = {"njmax": 120, "nconmax": 40, "cone": "pyramidal", "impratio": 1, "use_mujoco_contacts": False}
    return LabEnv(
        spec, env_cfg(), success, safety=safety(), num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def robot() -> ArticulationCfg:
    """The Go2, its joints under position control with the gains and limits of Isaac Lab's own Go2."""
    from isaaclab.actuators import ImplicitActuatorCfg

    from tasks import locomotion

    legs = ImplicitActuatorCfg(
        joint_names_expr=[".*"],
        joint_effort_limit={".*_hip_joint|.*_thigh_joint": 23.7, ".*_calf_joint": 45.43},  # [N·m]
        joint_velocity_limit=locomotion.NO_SPEED_LIMIT,
        stiffness=25.0,
        damping=0.5,
        armature={".*_hip_joint|.*_thigh_joint": 0.0045, ".*_calf_joint": 0.0165},
    )
    return locomotion.legged("go2", height=0.33, pose=STANDING, actuators={"legs": legs})


def env_cfg() -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    import isaaclab.envs.mdp as mdp
    from isaaclab.managers import RewardTermCfg, SceneEntityCfg
    from isaaclab_tasks.core.velocity.mdp import feet_air_time

    from tasks import locomotion

    return locomotion.velocity_env_cfg(
        robot=robot(),
        joints=JOINTS,
        feet=FEET,
        action_scale=0.5,
        command=locomotion.TwistCommandCfg(slowest=SLOWEST, direction=math.pi),
        fallen_below=FALLEN_BELOW,
        rewards={
            "velocity": RewardTermCfg(func=locomotion.tracks_velocity, weight=1.5),
            "yaw_rate": RewardTermCfg(func=locomotion.tracks_yaw_rate, weight=0.75),
            "fallen": RewardTermCfg(func=mdp.is_terminated, weight=-100.0),
            "vertical_velocity": RewardTermCfg(func=mdp.lin_vel_z_l2, weight=-2.0),
            "tilt_rate": RewardTermCfg(func=mdp.ang_vel_xy_l2, weight=-0.05),
            "tilt": RewardTermCfg(func=mdp.flat_orientation_l2, weight=-2.5),
            "torque": RewardTermCfg(func=mdp.joint_torques_l2, weight=-2e-4),
            "acceleration": RewardTermCfg(func=mdp.joint_acc_l2, weight=-2.5e-7),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01),
            "steps": RewardTermCfg(
                func=feet_air_time,
                weight=0.25,
                params={"command_name": "twist", "sensor_cfg": SceneEntityCfg("feet"), "threshold": 0.5},
            ),
        },
    )


def success(env: GradedEnv) -> torch.Tensor:
    """The command was followed to the end, and the robot is up [N] bool."""
    from tasks import locomotion

    return locomotion.followed(env, planar=0.25, yaw=0.3) & ~locomotion.fallen(env, FALLEN_BELOW)


def safety() -> dict[str, Callable[[GradedEnv], torch.Tensor]]:
    """The condition "crossed now" of every safety limit."""
    from tasks import locomotion, terms

    limit = {name: declared.value for name, declared in SPEC.safety.items()}
    return {
        "joint_velocity": lambda env: terms.joint_velocity_over(env, limit["joint_velocity"], ".*_(hip|thigh)_joint"),
        "calf_velocity": lambda env: terms.joint_velocity_over(env, limit["calf_velocity"], ".*_calf_joint"),
        "joint_position": lambda env: terms.joint_position_outside(env, limit["joint_position"]),
        "foot_force": lambda env: locomotion.foot_force_over(env, limit["foot_force"]),
    }
