"""Scene and MDP of `allegro-reorient`."""

from __future__ import annotations

import isaaclab.envs.mdp as mdp
import torch
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, SceneEntityCfg, TerminationTermCfg
from isaaclab.utils.math import matrix_from_quat, quat_conjugate, quat_error_magnitude, quat_mul

from tasks.core.env_state import EnvState
from tasks.cuda import rotations
from tasks.cuda.record import starts
from tasks.dexterity import allegro
from tasks.isaaclab import camera, declared, terms
from tasks.isaaclab.camera import Mark
from tasks.isaaclab.lab_env import LabEnv
from tasks.manipulation import objects
from tasks.spec import TaskSpec

HEIGHT = 0.5  # [m] of the palm over the floor
EDGE = 0.06  # [m] of the cube
MIDDLE = (0.03, 0.0, HEIGHT + 0.043)  # [m] where the cube rests at the start
SMALLEST = 0.6  # [rad] turn to the next orientation: more than any tolerance
DROPPED = 0.1  # [m] from there


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 200, "nconmax": 60, "cone": "pyramidal", "impratio": 1}
    safety = declared.safety(
        spec, joint_velocity=terms.joint_velocity_over, joint_position=terms.joint_position_outside
    )
    return LabEnv(
        spec, env_cfg(spec), success, safety=safety, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    joints = {"asset_cfg": SceneEntityCfg("robot", joint_names=list(allegro.JOINTS), preserve_order=True)}
    return terms.env_cfg(
        scene=terms.scene(
            env_spacing=0.8,
            robot=allegro.hand(HEIGHT),
            objects=objects.collection(cube=objects.cube(EDGE)),
        ),
        commands={"goal": allegro.OrientationsCfg(error=rotation_error, smallest=SMALLEST)},
        observations=declared.observations(
            spec,
            mdp,
            joint_position=ObservationTermCfg(func=mdp.joint_pos_rel, params=joints),
            joint_velocity=ObservationTermCfg(func=mdp.joint_vel, params=joints, scale=0.2),
            tip_position=ObservationTermCfg(func=tips_from_cube),
            cube_position=ObservationTermCfg(func=cube_from_middle),
            cube_axes=ObservationTermCfg(func=objects.axes),
            cube_velocity=ObservationTermCfg(func=objects.velocity),
            cube_spin=ObservationTermCfg(func=objects.spin, scale=0.2),
        ),
        actions=declared.action(
            spec,
            allegro.TargetChangeCfg(
                asset_name="robot", joint_names=list(allegro.JOINTS), preserve_order=True, scale=0.1
            ),
        ),
        events={"start": EventTermCfg(func=reset_to_grade, mode="reset")},
        # The terms of Isaac Lab's reorientation task; a drop costs besides.
        rewards={
            "orientation": RewardTermCfg(func=nearness, weight=1.0),
            "reached": RewardTermCfg(func=reached, weight=250.0),
            "position": RewardTermCfg(func=distance, weight=-10.0),
            "dropped": RewardTermCfg(func=mdp.is_terminated, weight=-250.0),
            "action": RewardTermCfg(func=mdp.action_l2, weight=-0.002),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.002),
        },
        terminations={
            "time_out": TerminationTermCfg(func=mdp.time_out, time_out=True),
            "dropped": TerminationTermCfg(func=dropped),
        },
    )


def reset_to_grade(env: EnvState, env_ids: torch.Tensor) -> None:
    """Lay the cube into the palm, turned a little, with a goal for its orientation."""
    robot = env.scene["robot"]
    joints = robot.data.default_joint_pos.torch[env_ids]
    robot.write_joint_position_to_sim_index(position=joints, env_ids=env_ids)
    robot.write_joint_velocity_to_sim_index(velocity=torch.zeros_like(joints), env_ids=env_ids)

    position, orientation = starts(env, env_ids, _cube_starts)
    cube = torch.zeros(len(env_ids), 1, dtype=torch.long, device=env.device)
    objects.place(env, env_ids, cube, position[:, None], orientation[:, None])
    env.command_manager.get_term("goal").begin(env_ids, orientation)


def _cube_starts(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of the cube [N, 3] [m] and orientations [N, 4]."""
    aside = 0.005 * env.draws.within("position", 2)
    position = env.constant(MIDDLE) + torch.nn.functional.pad(aside, (0, 1))
    return position, rotations.about_vertical(0.1 * env.draws.within("yaw"))


def cube_from_middle(env: EnvState) -> torch.Tensor:
    """From the middle of the palm to the cube [N, 3] [m]."""
    return objects.position(env) - env.constant(MIDDLE)


def joint_target(env: EnvState) -> torch.Tensor:
    """From the joints' positions to their targets [N, 16] [rad]."""
    position = env.scene["robot"].data.joint_pos.torch[:, env.once(allegro.joint_ids)]
    return env.action_manager.get_term("joint_target_change").processed_actions - position


def tips_from_cube(env: EnvState) -> torch.Tensor:
    """From the cube to the four finger tips [N, 12] [m]."""
    return (allegro.tip_positions(env) - objects.position(env)[:, None]).flatten(1)


def goal_rotation(env: EnvState) -> torch.Tensor:
    """First two columns of the rotation matrix from the cube's orientation to the goal [N, 6]."""
    rotation = quat_mul(env.command_manager.get_command("goal"), quat_conjugate(objects.orientation(env)))
    return matrix_from_quat(rotation)[..., :2].transpose(-1, -2).flatten(1)


def rotation_error(env: EnvState) -> torch.Tensor:
    """Angle from the cube's orientation to the goal [N] [rad]."""
    return quat_error_magnitude(objects.orientation(env), env.command_manager.get_command("goal"))


def goals(env: EnvState) -> torch.Tensor:
    """How many orientations the grade asks for [N]."""
    return (env.param("goals") + 0.5).floor()


def goals_left(env: EnvState) -> torch.Tensor:
    """How many of them have not been reached yet [N, 1]."""
    return (goals(env) - env.command_manager.get_term("goal").reached).clamp(min=0.0)[:, None]


def nearness(env: EnvState) -> torch.Tensor:
    """10 at the goal's orientation, 1 about 0.9 rad from it [N]."""
    return 1.0 / (rotation_error(env) + 0.1)


def reached(env: EnvState) -> torch.Tensor:
    """An orientation was reached [N]."""
    return env.command_manager.get_term("goal").just_reached.float()


def distance(env: EnvState) -> torch.Tensor:
    """Of the cube from the middle of the palm [N] [m]."""
    return cube_from_middle(env).norm(dim=-1)


def dropped(env: EnvState) -> torch.Tensor:
    """The cube has left the palm [N] bool."""
    return distance(env) > DROPPED


def success(env: EnvState) -> torch.Tensor:
    """The cube is at the last orientation that the grade asks for, or one after it [N] bool."""
    before = env.command_manager.get_term("goal").reached >= goals(env) - 1
    return before & (rotation_error(env) < env.param("tolerance"))


def marks(env: EnvState) -> list[Mark]:
    """The cube's axes, and over it the goal's."""
    above = torch.tensor((*MIDDLE[:2], MIDDLE[2] + 0.11), device=env.device).expand(env.num_envs, 3)
    goal = camera.axes(above, env.command_manager.get_command("goal"), 0.05)
    return camera.axes(objects.position(env), objects.orientation(env), 0.05) + goal
