"""Scene and MDP of `franka-push`."""

from __future__ import annotations

import isaaclab.envs.mdp as mdp
import torch
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg

from tasks.core.draws import direction
from tasks.core.env_state import EnvState, episode_state
from tasks.cuda.record import starts
from tasks.isaaclab import camera, declared, terms
from tasks.isaaclab.camera import Mark
from tasks.isaaclab.lab_env import LabEnv
from tasks.manipulation import franka, objects
from tasks.spec import TaskSpec

EDGES = (0.05, 0.07, 0.035)  # [m] of the cubes
NEAREST = 0.08  # [m] of the goal: further than any tolerance
MIDDLE = (0.5, 0.0)  # [m] of the ways, on average
ARENA = ((0.2, -0.45), (0.85, 0.45))  # [m] corners of what the cube must not leave


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 120, "nconmax": 40, "cone": "pyramidal", "impratio": 1}
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


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    cubes = {f"cube{k}": objects.cube(edge) for k, edge in enumerate(EDGES)}
    robot = franka.handling_panda()
    robot.init_state.joint_pos = franka.OVER_TABLE | {franka.FINGERS: 0.0}  # nothing opens them
    return terms.env_cfg(
        scene=franka.handling_scene(robot, objects=objects.collection(**cubes)),
        observations=declared.observations(
            spec,
            franka,
            mdp,
            **franka.arm_state(),
            cube_position=ObservationTermCfg(func=franka.object_from_tcp),
            cube_axes=ObservationTermCfg(func=objects.axes),
            cube_velocity=ObservationTermCfg(func=objects.velocity),
            goal_position=ObservationTermCfg(func=way),
        ),
        actions=declared.action(spec, franka.hand(spec)),
        events={
            "home": franka.near_start(0.05),
            "start": EventTermCfg(func=reset_to_grade, mode="reset"),
        },
        rewards={
            "behind": RewardTermCfg(func=behind, weight=1.0),
            "distance": RewardTermCfg(func=closeness, weight=4.0, params={"scale": 0.15}),
            "distance_fine": RewardTermCfg(func=closeness, weight=2.0, params={"scale": 0.03}),
            "at_goal": RewardTermCfg(func=success, weight=2.0),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01),
        },
        terminations={
            "time_out": TerminationTermCfg(func=mdp.time_out, time_out=True),
            "out_of_reach": TerminationTermCfg(func=objects.left, params={"arena": ARENA}),
        },
    )


@episode_state
def goal(env: EnvState) -> torch.Tensor:
    """Goal of each env on the table [N, 2] [m]."""
    return torch.tensor(MIDDLE, device=env.device).repeat(env.num_envs, 1)


def reset_to_grade(env: EnvState, env_ids: torch.Tensor) -> None:
    """Draw a cube, and a straight way for it: its ends are the start and the goal."""
    target, *placed = starts(env, env_ids, _start)
    goal(env).index_copy_(0, env.rows(env_ids), target)
    objects.place(env, env_ids, *placed)


def _start(env: EnvState) -> tuple[torch.Tensor, ...]:
    """Goals [N, 2] [m], and what `objects.place` takes."""
    cube = objects.draw(env, "cube_sizes")
    length = NEAREST + env.draws.uniform("distance") * (env.param("distance") - NEAREST)
    half = 0.5 * length[:, None] * direction(env.param("direction") * env.draws.within("direction"))
    middle = env.constant(MIDDLE) + env.param("spread")[:, None] * env.draws.within("spread", 2)
    position = torch.cat((middle - half, objects.rest_height(env, cube)[:, None]), dim=-1)
    return middle + half, cube[:, None], position[:, None], objects.upright(env, "yaw")[:, None]


def way(env: EnvState) -> torch.Tensor:
    """From the cube to the goal, on the table [N, 2] [m]."""
    return goal(env) - objects.position(env)[:, :2]


def distance(env: EnvState) -> torch.Tensor:
    """Of the cube from the goal [N] [m]."""
    return way(env).norm(dim=-1)


def behind(env: EnvState) -> torch.Tensor:
    """1 with the TCP where it can push: behind the cube as seen from the goal, at half its height [N]."""
    height = objects.chosen_height(env)[:, None]
    direction = torch.nn.functional.normalize(way(env), dim=-1)
    place = objects.position(env)[:, :2] - (height + 0.02) * direction
    distance = (torch.cat((place, height.clamp(min=0.02)), dim=-1) - franka.tcp_position(env)).norm(dim=-1)
    return 1.0 - (distance / 0.1).tanh()


def closeness(env: EnvState, scale: float) -> torch.Tensor:
    """1 with the cube at the goal, 0.5 about half of `scale` [m] from it [N]."""
    return 1.0 - (env.now(distance) / scale).tanh()


def success(env: EnvState) -> torch.Tensor:
    """Cube within the tolerance of the goal [N] bool."""
    return env.now(distance) < env.param("tolerance")


def marks(env: EnvState) -> list[Mark]:
    """The goal and its tolerance."""
    on_table = torch.cat((goal(env), torch.zeros_like(goal(env)[:, :1])), dim=-1)
    return [("lime", camera.ring(on_table, env.param("tolerance")))]
