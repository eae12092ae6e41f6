"""Scene and MDP of `cartpole-balance`."""

from __future__ import annotations

import math
from functools import partial

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, SceneEntityCfg, TerminationTermCfg

from tasks.core.env_state import EnvState
from tasks.cuda.record import starts
from tasks.factors.physics_effects import Bodies
from tasks.isaaclab import assets, declared, terms
from tasks.isaaclab.lab_env import LabEnv
from tasks.spec import TaskSpec

CART, POLE = "slider_to_cart", "cart_to_pole"


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 5, "nconmax": 3, "cone": "pyramidal", "impratio": 1}
    safety = declared.safety(spec, cart_velocity=partial(terms.joint_velocity_over, joints=CART))
    return LabEnv(
        spec, env_cfg(spec), success, safety=safety, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    robot = ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.UsdFileCfg(
            usd_path=str(assets.usd_path("cartpole")),
            articulation_props=terms.no_self_collisions(),
            joint_drive_props=[sim_utils.UsdPhysicsDriveCfg(drive_type="force", stiffness=0.0, damping=0.0)],
            joint_drive_props_create_if_missing=True,  # without a drive OVPhysX ignores the actuator's damping
        ),
        init_state=ArticulationCfg.InitialStateCfg(pos=(0.0, 0.0, 2.0)),
        actuators={
            "cart": ImplicitActuatorCfg(joint_names_expr=[CART], joint_effort_limit=400.0, stiffness=0.0, damping=10.0),
            "pole": ImplicitActuatorCfg(joint_names_expr=[POLE], joint_effort_limit=400.0, stiffness=0.0, damping=0.0),
        },
    )
    cart = {"asset_cfg": SceneEntityCfg("robot", joint_names=[CART])}
    pole = {"asset_cfg": SceneEntityCfg("robot", joint_names=[POLE])}
    return terms.env_cfg(
        scene=terms.scene(env_spacing=4.0, ground=terms.ground(), robot=robot),
        observations=declared.observations(
            spec,
            cart_position=ObservationTermCfg(func=mdp.joint_pos, params=cart),
            cart_velocity=ObservationTermCfg(func=mdp.joint_vel, params=cart),
            pole_velocity=ObservationTermCfg(func=mdp.joint_vel, params=pole),
        ),
        actions=declared.action(
            spec, terms.GradedEffortActionCfg(asset_name="robot", joint_names=[CART], limit="force_limit")
        ),
        events={"start": EventTermCfg(func=reset_to_grade, mode="reset")},
        rewards={
            "upright": RewardTermCfg(func=upright, weight=1.0),
            "centred": RewardTermCfg(func=centred, weight=1.0),
            "distance": RewardTermCfg(func=mdp.joint_pos_target_l2, weight=-0.1, params={**cart, "target": 0.0}),
            "failure": RewardTermCfg(func=mdp.is_terminated, weight=-100.0),
            "pole_velocity": RewardTermCfg(func=mdp.joint_vel_l2, weight=-0.002, params=pole),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01),
        },
        terminations={
            "time_out": TerminationTermCfg(func=mdp.time_out, time_out=True),
            "off_the_rail": TerminationTermCfg(
                func=mdp.joint_pos_out_of_manual_limit, params={**cart, "bounds": (-3.0, 3.0)}
            ),
            "fallen": TerminationTermCfg(func=fallen),
        },
    )


def cart_position(env: EnvState) -> torch.Tensor:
    """Distance of the cart from the rail's centre, signed [N] [m]."""
    robot = env.scene["robot"]
    return robot.data.joint_pos.torch[:, robot.joint_names.index(CART)]


def pole_angle(env: EnvState) -> torch.Tensor:
    """Angle of the pole from upright, unwrapped [N] [rad]."""
    robot = env.scene["robot"]
    return robot.data.joint_pos.torch[:, robot.joint_names.index(POLE)]


def pole_direction(env: EnvState) -> torch.Tensor:
    """Sine and cosine of the pole's angle [N, 2]."""
    angle = pole_angle(env)
    return torch.stack((angle.sin(), angle.cos()), dim=-1)


def upright(env: EnvState) -> torch.Tensor:
    """1 with the pole upright, 0 with it hanging [N]."""
    return (1.0 + pole_angle(env).cos()) / 2.0


def centred(env: EnvState) -> torch.Tensor:
    """1 with the cart at the centre, only while the pole is up: getting it there comes first [N]."""
    return (-cart_position(env).square()).exp() * (pole_angle(env).cos() > 0.9)


def success(env: EnvState) -> torch.Tensor:
    """Pole within 0.2 rad of upright and cart within 0.5 m of the centre [N] bool."""
    return (pole_angle(env).cos() > math.cos(0.2)) & (cart_position(env).abs() < 0.5)


def fallen(env: EnvState) -> torch.Tensor:
    """The pole is further from upright than the grade lets it fall [N] bool."""
    return pole_angle(env).cos().clamp(-1.0, 1.0).acos() > env.param("fall_angle")


def reset_to_grade(env: EnvState, env_ids: torch.Tensor) -> None:
    """Start at rest, position and angle uniform within what the grade allows, with the pole that it asks for."""
    robot = env.scene["robot"]
    length = env.param("pole_length", env_ids)  # as built it is 1 m, and weighs 1 kg; its joint is its origin
    mass = length * env.param("pole_density", env_ids)
    env.shared(Bodies, robot).grade(env_ids, robot.body_names.index("pole"), mass, length)
    for joint, position in zip((CART, POLE), starts(env, env_ids, _positions), strict=True):
        joint_ids = [robot.joint_names.index(joint)]
        robot.write_joint_position_to_sim_index(position=position, joint_ids=joint_ids, env_ids=env_ids)
        robot.write_joint_velocity_to_sim_index(velocity=0.0 * position, joint_ids=joint_ids, env_ids=env_ids)


def _positions(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the cart [N, 1] [m] and of the pole [N, 1] [rad]."""
    cart, pole = env.draws.within("position", 2).split(1, dim=1)
    return env.param("initial_position")[:, None] * cart, env.param("initial_angle")[:, None] * pole
