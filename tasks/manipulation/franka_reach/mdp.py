"""Scene and MDP of `franka-reach`."""

from __future__ import annotations

import isaaclab.envs.mdp as mdp
import torch
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, RewardTermCfg, TerminationTermCfg
from isaaclab.utils.math import axis_angle_from_quat, quat_inv

from tasks.core.env_state import EnvState, episode_state
from tasks.cuda import rotations
from tasks.cuda.record import starts
from tasks.isaaclab import camera, declared, terms
from tasks.isaaclab.camera import Mark
from tasks.isaaclab.lab_env import LabEnv
from tasks.manipulation import franka
from tasks.spec import TaskSpec

GOAL_CENTRE = (0.5, 0.0, 0.4)  # [m] in the base frame


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 100, "nconmax": 20, "cone": "pyramidal", "impratio": 1}
    return LabEnv(
        spec,
        env_cfg(spec),
        success,
        safety=declared.safety(spec, **franka.SAFETY),
        num_envs=num_envs,
        device=device,
        engine=engine,
        newton=newton,
    )


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    ground = terms.ground(height=-franka.PEDESTAL)  # at the height of the base, the first link would be inside it
    return terms.env_cfg(
        scene=terms.scene(env_spacing=2.5, ground=ground, robot=franka.panda()),
        observations=declared.observations(
            spec,
            franka,
            mdp,
            **franka.arm_state(),
        ),
        actions=declared.action(
            spec, mdp.JointPositionActionCfg(asset_name="robot", joint_names=[franka.ARM], scale=1.0)
        ),
        events={
            "home": franka.near_start(0.1),
            "goal": EventTermCfg(func=reset_goal, mode="reset"),
        },
        rewards={
            "position": RewardTermCfg(func=position_distance, weight=-1.0),
            "position_fine": RewardTermCfg(func=position_closeness, weight=1.0),
            "rotation": RewardTermCfg(func=rotation_distance, weight=-0.2),
            "rotation_fine": RewardTermCfg(func=rotation_closeness, weight=0.5),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.005),
            "joint_velocity": RewardTermCfg(func=mdp.joint_vel_l2, weight=-0.001, params=franka.arm_joints()),
        },
        terminations={"time_out": TerminationTermCfg(func=mdp.time_out, time_out=True)},
    )


@episode_state
def goal(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    """Goal pose of each env in the base frame: position [N, 3] [m], orientation [N, 4] (x, y, z, w)."""
    pose = torch.tensor([*GOAL_CENTRE, *franka.POINTING_DOWN], device=env.device).repeat(env.num_envs, 1)
    return pose[:, :3], pose[:, 3:]


def reset_goal(env: EnvState, env_ids: torch.Tensor) -> None:
    """Draw the goal: uniform in the box, rotated from pointing down about a uniformly random axis."""
    for pose, new in zip(goal(env), starts(env, env_ids, _goals), strict=True):
        pose[env.rows(env_ids)] = new


def _goals(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions [N, 3] [m] and orientations [N, 4]."""
    position = env.constant(GOAL_CENTRE) + env.param("workspace")[:, None] * env.draws.within("position", 3)
    turn = rotations.about(env.param("rotation") * env.draws.uniform("angle"), env.draws.normal("axis", 3))
    return position, rotations.multiply(turn, env.constant(franka.POINTING_DOWN))


def goal_position(env: EnvState) -> torch.Tensor:
    """Goal position in the base frame [N, 3] [m]."""
    return goal(env)[0]


def position_error(env: EnvState) -> torch.Tensor:
    """Goal minus TCP in the base frame [N, 3] [m]."""
    return goal(env)[0] - env.now(franka.tcp_pose)[0]


def rotation_error(env: EnvState) -> torch.Tensor:
    """Rotation vector that turns the TCP to the goal [N, 3] [rad]."""
    return env.now(_rotation_error)


def _rotation_error(env: EnvState) -> torch.Tensor:
    return axis_angle_from_quat(rotations.multiply(goal(env)[1], quat_inv(env.now(franka.tcp_pose)[1])))


def position_distance(env: EnvState) -> torch.Tensor:
    """Distance of the TCP from the goal [N] [m]."""
    return env.now(position_error).norm(dim=-1)


def rotation_distance(env: EnvState) -> torch.Tensor:
    """Angle between the TCP and the goal [N] [rad]."""
    return rotation_error(env).norm(dim=-1)


def position_closeness(env: EnvState) -> torch.Tensor:
    """1 at the goal, 0.5 about 5 cm from it [N]."""
    return 1.0 - (env.now(position_distance) / 0.1).tanh()


def rotation_closeness(env: EnvState) -> torch.Tensor:
    """1 at the goal's rotation, 0.5 about 0.3 rad from it, and only near the goal [N]."""
    return env.now(position_closeness) * (1.0 - (env.now(rotation_distance) / 0.5).tanh())


def success(env: EnvState) -> torch.Tensor:
    """TCP within both tolerances [N] bool."""
    near = env.now(position_distance) < env.param("position_tolerance")
    return near & (env.now(rotation_distance) < env.param("rotation_tolerance"))


def marks(env: EnvState) -> list[Mark]:
    """Axes of the TCP, and of its goal."""
    return camera.axes(*franka.tcp_pose(env), 0.06) + camera.axes(*goal(env), 0.1)
