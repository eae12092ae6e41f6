"""Scene and MDP of `franka-drawer`."""

from __future__ import annotations

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg

from tasks.core.env_state import EnvState, episode_state
from tasks.cuda.record import starts
from tasks.isaaclab import declared, terms
from tasks.isaaclab.lab_env import LabEnv
from tasks.manipulation import franka, objects
from tasks.spec import TaskSpec

DRAWERS = ("centre", "left", "right")  # in the order in which the grades bring them
HANDLES = (0.62, 0.0, 0.25)  # [m] middle of the closed handles
# From above, with the fingers before and behind the handle; half way between the handles and the robot.
ABOVE = (2**-0.5, 2**-0.5, 0.0, 0.0)  # orientation of the TCP (x, y, z, w)
START = {
    "panda_joint1": 0.0,
    "panda_joint2": -0.06,
    "panda_joint4": -2.32,
    "panda_joint6": 2.26,
    "panda_joint7": -0.785,
}


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 100, "nconmax": 40, **objects.CONTACTS}
    return LabEnv(
        spec,
        env_cfg(spec),
        success,
        safety=declared.safety(spec, **franka.HANDLING_SAFETY),
        num_envs=num_envs,
        device=device,
        engine=engine,
        newton=newton,
    )


def cabinet() -> ArticulationCfg:
    """The chest of drawers of `usd/drawers.usda`, which stands before the robot."""
    return ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Cabinet",
        spawn=sim_utils.UsdFileCfg(
            usd_path=str(objects.USD / "drawers.usda"),
            fix_root_link=True,
            articulation_props=terms.no_self_collisions(position_iterations=8),
        ),
        init_state=ArticulationCfg.InitialStateCfg(pos=HANDLES),
        actuators={
            "rails": ImplicitActuatorCfg(joint_names_expr=[".*"], stiffness=0.0, damping=5.0, joint_effort_limit=500.0)
        },
    )


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    robot = franka.handling_panda()
    robot.init_state.joint_pos = franka.OVER_TABLE | START
    return terms.env_cfg(
        scene=franka.handling_scene(robot, cabinet=cabinet()),
        observations=declared.observations(
            spec,
            franka,
            mdp,
            **franka.arm_state(),
            handle_position=ObservationTermCfg(func=handle_from_tcp),
        ),
        actions=declared.action(spec, franka.hand(spec, hold=ABOVE, low=(0.28, -0.4, 0.18))),
        events={"start": EventTermCfg(func=reset_to_grade, mode="reset")},
        rewards={
            "reach": RewardTermCfg(func=reaching, weight=1.0),
            "open": RewardTermCfg(func=share_open, weight=5.0),
            "past_target": RewardTermCfg(func=success, weight=2.0),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01),
        },
        terminations={"time_out": TerminationTermCfg(func=mdp.time_out, time_out=True)},
    )


@episode_state
def drawer(env: EnvState) -> torch.Tensor:
    """Which of `DRAWERS` each env has to open [N]."""
    return torch.zeros(env.num_envs, dtype=torch.long, device=env.device)


def reset_to_grade(env: EnvState, env_ids: torch.Tensor) -> None:
    """Draw the drawer, the friction of all rails and the robot's pose; shut the drawers."""
    chest, robot, rows = env.scene["cabinet"], env.scene["robot"], env.rows(env_ids)
    which, friction, joints = starts(env, env_ids, _start)
    drawer(env).index_copy_(0, rows, which)
    shut = torch.zeros_like(friction)
    chest.write_joint_position_to_sim_index(position=shut, env_ids=env_ids)
    chest.write_joint_velocity_to_sim_index(velocity=shut, env_ids=env_ids)
    # Newton has one friction for a joint that rests and a joint that slides
    sliding = {"joint_dynamic_friction_coeff": friction} if hasattr(chest.data, "joint_dynamic_friction_coeff") else {}
    chest.write_joint_friction_coefficient_to_sim_index(joint_friction_coeff=friction, env_ids=env_ids, **sliding)
    robot.write_joint_position_to_sim_index(position=joints, env_ids=env_ids)
    robot.write_joint_velocity_to_sim_index(velocity=0.0 * joints, env_ids=env_ids)


def _start(env: EnvState) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The drawer [N], the friction of all rails [N, drawers] [N], positions of the robot's joints [N, J] [rad]."""
    friction = env.param("friction") * (0.5 + 0.5 * env.draws.uniform("friction"))
    joints, arm = env.scene["robot"].data.default_joint_pos.torch, env.joint_ids(franka.ARM)
    offset = env.param("start")[:, None] * env.draws.within("arm", len(arm))
    return (
        objects.draw(env, "handles"),
        friction[:, None].repeat(1, len(DRAWERS)),
        joints.index_add(1, arm, offset),
    )


def _of_drawer(env: EnvState, data: torch.Tensor, names: list[str], suffix: str) -> torch.Tensor:
    rows, columns = env.once(_columns, tuple(names), suffix)
    return data[rows, columns[drawer(env)]]


def _columns(env: EnvState, names: tuple[str, ...], suffix: str) -> tuple[torch.Tensor, torch.Tensor]:
    columns = [names.index(name + suffix) for name in DRAWERS]
    return torch.arange(env.num_envs, device=env.device), torch.tensor(columns, device=env.device)


def drawer_position(env: EnvState) -> torch.Tensor:
    """How far the drawer is open [N, 1] [m]."""
    chest = env.scene["cabinet"]
    return _of_drawer(env, chest.data.joint_pos.torch, chest.joint_names, "_opening")[:, None]


def drawer_velocity(env: EnvState) -> torch.Tensor:
    """How fast the drawer opens [N, 1] [m/s]."""
    chest = env.scene["cabinet"]
    return _of_drawer(env, chest.data.joint_vel.torch, chest.joint_names, "_opening")[:, None]


def handle_from_tcp(env: EnvState) -> torch.Tensor:
    """From the TCP to the middle of the handle [N, 3] [m]."""
    chest = env.scene["cabinet"]
    position = _of_drawer(env, chest.data.body_link_pos_w.torch, chest.body_names, "")
    return position - env.scene.env_origins - franka.tcp_position(env)


def reaching(env: EnvState) -> torch.Tensor:
    """1 with the TCP at the handle, 0.5 about 5 cm from it [N]."""
    return 1.0 - (env.now(handle_from_tcp).norm(dim=-1) / 0.1).tanh()


def share_open(env: EnvState) -> torch.Tensor:
    """Share of the way to the target by which the drawer is open, at most 1 [N]."""
    return (env.now(drawer_position)[:, 0] / env.param("target")).clamp(0.0, 1.0)


def success(env: EnvState) -> torch.Tensor:
    """Drawer open past the target [N] bool."""
    return env.now(drawer_position)[:, 0] > env.param("target")
