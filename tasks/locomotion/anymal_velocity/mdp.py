"""Scene and MDP of `anymal-velocity`."""

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
from tasks.locomotion.anymal_velocity.spec import PLANAR_ERROR, YAW_ERROR
from tasks.spec import TaskSpec

SLOWEST = 0.4  # [m/s]: more than the tolerance, so standing still is never enough

JOINTS = tuple(f"{leg}_{joint}" for joint in ("HAA", "HFE", "KFE") for leg in ("LF", "RF", "LH", "RH"))
FEET = ".*_SHANK"  # the converter merges a foot into its shank
STANDING = {".*_HAA": 0.0, ".F_HFE": 0.4, ".H_HFE": -0.4, ".F_KFE": -0.8, ".H_KFE": 0.8}
FALLEN_BELOW = 0.3  # [m]


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 100, "nconmax": 40, "cone": "pyramidal", "impratio": 10, "use_mujoco_contacts": False}
    limits = legged.safety(spec, speeds={"joint_velocity": ".*"})
    return LabEnv(
        spec, env_cfg(spec), success, safety=limits, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def robot() -> ArticulationCfg:
    """The ANYmal C, its joints under position control.

    Effort limits are the drives'; gains are those of Rudin et al. 2022 (arXiv:2109.11978), as Isaac Lab's simple
    drive model is too soft to stand on without its motor model.
    """
    legs = ImplicitActuatorCfg(
        joint_names_expr=[".*"],
        joint_effort_limit=80.0,  # [N·m]
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness=80.0,
        damping=2.0,
    )
    return legged.legged("anymal", height=0.56, pose=STANDING, actuators={"legs": legs})


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
        rewards=legged.quadruped_rewards(tilt=-5.0, torque=-2.5e-5, steps=0.5),
    )


def success(env: EnvState) -> torch.Tensor:
    """The command was followed to the end, and the robot is up [N] bool."""
    return legged.followed(env, PLANAR_ERROR, YAW_ERROR) & ~legged.fallen(env, FALLEN_BELOW)
