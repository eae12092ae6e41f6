"""Scene and MDP of `ant-run`."""

from __future__ import annotations

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, SceneEntityCfg, TerminationTermCfg

from tasks.core.env_state import EnvState
from tasks.isaaclab import assets, declared, terms
from tasks.isaaclab.lab_env import LabEnv
from tasks.locomotion import legged
from tasks.spec import TaskSpec

JOINTS = (  # in this order, which each engine would choose otherwise
    "front_left_leg",
    "front_right_leg",
    "left_back_leg",
    "right_back_leg",
    "front_left_foot",
    "front_right_foot",
    "left_back_foot",
    "right_back_foot",
)
STANDING_HEIGHT = 0.56  # [m] of the torso at the start: no joint offset pushes a foot into the floor
FALLEN_HEIGHT = 0.31  # [m]
TORQUE = 7.5  # [N·m] at full action


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 60, "nconmax": 25, "cone": "pyramidal", "impratio": 1}
    safety = declared.safety(spec, joint_velocity=terms.joint_velocity_over, joint_position=beyond_limits)
    return LabEnv(
        spec, env_cfg(spec), success, safety=safety, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    # The drive and the start are those of Isaac Lab's own ant.
    robot = ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.UsdFileCfg(usd_path=str(assets.usd_path("ant")), articulation_props=terms.no_self_collisions()),
        init_state=ArticulationCfg.InitialStateCfg(
            pos=(0.0, 0.0, STANDING_HEIGHT),
            joint_pos={
                ".*_leg": 0.0,
                "front_left_foot|right_back_foot": 0.785398,
                "front_right_foot|left_back_foot": -0.785398,
            },
        ),
        actuators={
            "joints": ImplicitActuatorCfg(
                joint_names_expr=[".*"], joint_effort_limit=15.0, stiffness=0.0, damping=0.1, armature=0.05
            )
        },
    )
    joints = {"asset_cfg": SceneEntityCfg("robot", joint_names=list(JOINTS), preserve_order=True)}
    return terms.env_cfg(
        scene=terms.scene(env_spacing=1.5, floor=legged.floor(), robot=robot),
        observations=declared.observations(
            spec,
            mdp,
            height=ObservationTermCfg(func=mdp.base_pos_z),
            linear_velocity=ObservationTermCfg(func=mdp.base_lin_vel),
            angular_velocity=ObservationTermCfg(func=mdp.base_ang_vel),
            gravity=ObservationTermCfg(func=mdp.projected_gravity),
            joint_position=ObservationTermCfg(func=mdp.joint_pos_limit_normalized, params=joints),
            joint_velocity=ObservationTermCfg(func=mdp.joint_vel, params=joints, scale=0.2),
        ),
        actions=declared.action(
            spec,
            mdp.JointEffortActionCfg(asset_name="robot", joint_names=list(JOINTS), preserve_order=True, scale=TORQUE),
        ),
        events={
            "grip": legged.grip(),
            "stand": EventTermCfg(func=terms.stand, mode="reset"),
            "joints": EventTermCfg(func=terms.bend, mode="reset", params={"joints": JOINTS, "offset": 0.2}),
        },
        rewards={
            "progress": RewardTermCfg(func=progress, weight=1.0),
            "alive": RewardTermCfg(func=mdp.is_alive, weight=0.5),
            "straight": RewardTermCfg(func=straight, weight=0.5),
            "fallen": RewardTermCfg(func=mdp.is_terminated, weight=-100.0),
            "action": RewardTermCfg(func=mdp.action_l2, weight=-0.005),
            "power": RewardTermCfg(func=power, weight=-0.05),
        },
        terminations={
            "time_out": TerminationTermCfg(func=mdp.time_out, time_out=True),
            "fallen": TerminationTermCfg(func=mdp.root_height_below_minimum, params={"minimum_height": FALLEN_HEIGHT}),
        },
    )


def heading(env: EnvState) -> torch.Tensor:
    """The world's x axis in the torso's horizontal frame [N, 2]: cosine and negative sine of the yaw."""
    yaw = env.scene["robot"].data.heading_w.torch
    return torch.stack((yaw.cos(), -yaw.sin()), dim=-1)


def progress(env: EnvState) -> torch.Tensor:
    """Speed along x, counted up to 1.2 times the target speed: faster than that earns nothing [N] [m/s]."""
    return env.scene["robot"].data.root_lin_vel_w.torch[:, 0].minimum(1.2 * env.param("target_speed"))


def straight(env: EnvState) -> torch.Tensor:
    """1 facing along x, within about 37 degrees; less beyond, down to -1.25 facing back [N]."""
    return (heading(env)[:, 0] / 0.8).clamp(max=1.0)


def power(env: EnvState) -> torch.Tensor:
    """Sum over joints of |action · joint velocity| [N] [rad/s]."""
    velocity = env.scene["robot"].data.joint_vel.torch[:, env.once(_joint_ids)]
    return (env.action_manager.action * velocity).abs().sum(dim=-1)


def _joint_ids(env: EnvState) -> torch.Tensor:
    return torch.tensor(env.scene["robot"].find_joints(list(JOINTS), preserve_order=True)[0], device=env.device)


def success(env: EnvState) -> torch.Tensor:
    """Fast enough on average since the start, and not fallen [N] bool."""
    position = env.scene["robot"].data.root_pos_w.torch
    distance = position[:, 0] - env.scene.env_origins[:, 0]
    return (distance >= env.param("target_speed") * env.episode_length_buf * env.step_dt) & (
        position[:, 2] > FALLEN_HEIGHT
    )


def beyond_limits(env: EnvState, distance: float) -> torch.Tensor:
    """A joint is more than `distance` [rad] beyond its position limit [N] bool."""
    return terms.joint_position_outside(env, -distance)
