"""Scene and MDP of `go2-velocity`."""

from __future__ import annotations

import math

import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab.envs import ManagerBasedRLEnvCfg

from tasks.core.env_state import EnvState
from tasks.isaaclab import terms
from tasks.isaaclab.lab_env import LabEnv
from tasks.locomotion import legged
from tasks.locomotion.go2_velocity.spec import PLANAR_ERROR, YAW_ERROR
from tasks.spec import TaskSpec

SLOWEST = 0.4  # [m/s]: more than the tolerance, so standing still is never enough

JOINTS = tuple(f"{leg}_{joint}_joint" for joint in ("hip", "thigh", "calf") for leg in ("FL", "FR", "RL", "RR"))
FEET = ".*_calf"  # the converter merges a foot into its calf
STANDING = {".*L_hip_joint": 0.1, ".*R_hip_joint": -0.1, "F._thigh_joint": 0.8, "R._thigh_joint": 1.0}
STANDING |= {".*_calf_joint": -1.5}
SPEEDS = {"joint_velocity": ".*_(hip|thigh)_joint", "calf_velocity": ".*_calf_joint"}  # safety limit: its joints
FALLEN_BELOW = 0.18  # [m]


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 120, "nconmax": 40, "cone": "pyramidal", "impratio": 1, "use_mujoco_contacts": False}
    limits = legged.safety(spec, SPEEDS)
    return LabEnv(
        spec, env_cfg(spec), success, safety=limits, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def robot() -> ArticulationCfg:
    """The Go2, its joints under position control with the gains and limits of Isaac Lab's own Go2."""
    legs = ImplicitActuatorCfg(
        joint_names_expr=[".*"],
        joint_effort_limit={".*_hip_joint|.*_thigh_joint": 23.7, ".*_calf_joint": 45.43},  # [N·m]
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness=25.0,
        damping=0.5,
        armature={".*_hip_joint|.*_thigh_joint": 0.0045, ".*_calf_joint": 0.0165},
    )
    return legged.legged("go2", height=0.33, pose=STANDING, actuators={"legs": legs})


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    return legged.velocity_env_cfg(
        spec,
        robot=robot(),
        joints=JOINTS,
        feet=FEET,
        action_scale=0.5,
        command=legged.TwistCommandCfg(slowest=SLOWEST, direction=math.pi),
        fallen_below=FALLEN_BELOW,
        rewards=legged.quadruped_rewards(tilt=-2.5, torque=-2e-4, steps=0.25),
    )


def success(env: EnvState) -> torch.Tensor:
    """The command was followed to the end, and the robot is up [N] bool."""
    return legged.followed(env, PLANAR_ERROR, YAW_ERROR) & ~legged.fallen(env, FALLEN_BELOW)
