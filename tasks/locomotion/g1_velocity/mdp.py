"""Scene and MDP of `g1-velocity`."""

from __future__ import annotations

import math

import isaaclab.envs.mdp as mdp
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import RewardTermCfg, SceneEntityCfg
from isaaclab_tasks.core.velocity.mdp import feet_air_time_positive_biped, feet_slide

from tasks.core.env_state import EnvState
from tasks.isaaclab import terms
from tasks.isaaclab.lab_env import LabEnv
from tasks.locomotion import legged
from tasks.locomotion.g1_velocity.spec import PLANAR_ERROR, YAW_ERROR
from tasks.spec import TaskSpec

SLOWEST = 0.5  # [m/s]: more than the tolerance, so standing still is never enough

LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
JOINTS = tuple(f"{side}_{joint}_joint" for joint in LEG for side in ("left", "right"))
FEET = ".*_ankle_roll_link"
STANDING = {".*_hip_pitch_joint": -0.2, ".*_knee_joint": 0.42, ".*_ankle_pitch_joint": -0.23}
STANDING |= {".*_shoulder_pitch_joint": 0.35, ".*_elbow_joint": 0.87}
STANDING |= {"left_shoulder_roll_joint": 0.16, "right_shoulder_roll_joint": -0.16}
FALLEN_BELOW = 0.5  # [m]


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 120, "nconmax": 40, "cone": "pyramidal", "impratio": 1, "use_mujoco_contacts": False}
    speeds = {
        "joint_velocity": ".*_(hip_roll|knee)_joint",
        "swing_velocity": ".*_hip_(pitch|yaw)_joint",
        "ankle_velocity": ".*_ankle_.*_joint",
    }
    limits = legged.safety(spec, speeds)
    return LabEnv(
        spec, env_cfg(spec), success, safety=limits, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def robot() -> ArticulationCfg:
    """The G1, its legs under position control and its upper body held in the standing pose.

    Gains and pose are those of Isaac Lab's own G1, but for the ankles, whose gains are those of unitree_rl_gym: with
    half as much, a full action moves an ankle by less torque than standing on the toes takes. Effort limits are those
    of Unitree's URDF. Under no action the robot leans over and falls within two seconds: balance is the policy's task.
    """
    legs = ImplicitActuatorCfg(
        joint_names_expr=[".*_hip_.*", ".*_knee_joint"],
        joint_effort_limit={".*_hip_(pitch|yaw)_joint": 88.0, ".*_hip_roll_joint|.*_knee_joint": 139.0},  # [N·m]
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness={".*_hip_(yaw|roll)_joint": 150.0, ".*_hip_pitch_joint|.*_knee_joint": 200.0},
        damping=5.0,
        armature=0.01,
    )
    feet = ImplicitActuatorCfg(
        joint_names_expr=[".*_ankle_.*"],
        joint_effort_limit=35.0,
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness=40.0,
        damping=2.0,
        armature=0.01,
    )
    upper = ImplicitActuatorCfg(
        joint_names_expr=["waist_.*", ".*_shoulder_.*", ".*_elbow_.*", ".*_wrist_.*"],
        joint_effort_limit={"waist_yaw_joint": 88.0, "waist_(roll|pitch)_joint": 35.0}
        | {".*_(shoulder|elbow)_.*|.*_wrist_roll_joint": 25.0, ".*_wrist_(pitch|yaw)_joint": 5.0},
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness={"waist_.*": 200.0, ".*_(shoulder|elbow|wrist)_.*": 40.0},
        damping={"waist_.*": 5.0, ".*_(shoulder|elbow|wrist)_.*": 10.0},
        armature=0.01,
    )
    actuators = {"legs": legs, "feet": feet, "upper": upper}
    robot = legged.legged("g1", height=0.8, pose=STANDING, actuators=actuators)
    robot.soft_joint_pos_limit_factor = 0.9  # where the reward for the ankles' range starts
    return robot


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP. The rewards are those of Isaac Lab's G1 on flat ground."""
    legs = {"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_hip_.*", ".*_knee_joint"])}
    hips = {"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_hip_yaw_joint", ".*_hip_roll_joint"])}
    ankles = {"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_ankle_.*"])}
    feet = {"sensor_cfg": SceneEntityCfg("feet"), "asset_cfg": SceneEntityCfg("robot", body_names=[FEET])}
    return legged.velocity_env_cfg(
        spec,
        robot=robot(),
        joints=JOINTS,
        feet=FEET,
        action_scale=0.5,
        command=legged.TwistCommandCfg(slowest=SLOWEST, direction=math.radians(30)),
        fallen_below=FALLEN_BELOW,
        rewards={
            "velocity": RewardTermCfg(func=legged.tracks_velocity, weight=1.0),
            "yaw_rate": RewardTermCfg(func=legged.tracks_yaw_rate, weight=1.0),
            "fallen": RewardTermCfg(func=mdp.is_terminated, weight=-200.0),
            "vertical_velocity": RewardTermCfg(func=mdp.lin_vel_z_l2, weight=-0.2),
            "tilt_rate": RewardTermCfg(func=mdp.ang_vel_xy_l2, weight=-0.05),
            "tilt": RewardTermCfg(func=mdp.flat_orientation_l2, weight=-1.0),
            "torque": RewardTermCfg(func=mdp.joint_torques_l2, weight=-2e-6, params=legs),
            "acceleration": RewardTermCfg(func=mdp.joint_acc_l2, weight=-1e-7, params=legs),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.005),
            "ankle_limits": RewardTermCfg(func=mdp.joint_pos_limits, weight=-1.0, params=ankles),
            "hip_pose": RewardTermCfg(func=mdp.joint_deviation_l1, weight=-0.1, params=hips),
            "slide": RewardTermCfg(func=feet_slide, weight=-0.1, params=feet),
            "steps": RewardTermCfg(
                func=feet_air_time_positive_biped,
                weight=0.75,
                params={"command_name": "twist", "sensor_cfg": SceneEntityCfg("feet"), "threshold": 0.4},
            ),
        },
    )


def success(env: EnvState) -> torch.Tensor:
    """The command was followed to the end, and the robot is up [N] bool."""
    return legged.followed(env, PLANAR_ERROR, YAW_ERROR) & ~legged.fallen(env, FALLEN_BELOW)
