"""Scene and MDP of `franka-lift`."""

from __future__ import annotations

from typing import Any

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg

from tasks.core.env_state import EnvState, episode_state
from tasks.cuda.record import starts
from tasks.isaaclab import camera, declared, terms
from tasks.isaaclab.camera import Mark
from tasks.isaaclab.lab_env import LabEnv
from tasks.manipulation import franka, objects
from tasks.spec import TaskSpec

LOWEST = 0.08  # [m] of the goal above the start: further than any tolerance
CENTRE = (0.5, 0.0)  # [m] of the squares of starts and goals
ARENA = ((0.2, -0.45), (0.85, 0.45))  # [m] corners of what the object must not leave
LIFTED = 0.05  # [m] above the floor


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 160, "nconmax": 50, **objects.CONTACTS}
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


def bodies() -> dict[str, Any]:
    """The objects, in the order in which the grades bring them."""
    return {
        "cube": objects.cube(0.05),
        "bar": objects.body(sim_utils.CuboidCfg, (0.2, 0.4, 0.8), size=(0.1, 0.03, 0.035)),
        "can": objects.body(sim_utils.CylinderCfg, (0.2, 0.7, 0.3), radius=0.022, height=0.07),
        "small": objects.cube(0.03, color=(0.9, 0.7, 0.1)),
        "ball": objects.body(sim_utils.SphereCfg, (0.6, 0.3, 0.7), radius=0.025),
    }


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    return terms.env_cfg(
        scene=franka.handling_scene(franka.handling_panda(), objects=objects.collection(**bodies())),
        observations=declared.observations(
            spec,
            franka,
            mdp,
            **franka.arm_state(),
            object_position=ObservationTermCfg(func=franka.object_from_tcp),
            object_axes=ObservationTermCfg(func=objects.axes),
            object_velocity=ObservationTermCfg(func=objects.velocity),
            goal_position=ObservationTermCfg(func=way),
        ),
        actions=declared.action(spec, franka.hand(spec)),
        events={
            "home": franka.near_start(0.05),
            "start": EventTermCfg(func=reset_to_grade, mode="reset"),
        },
        rewards={
            "reach": RewardTermCfg(func=franka.reaching, weight=1.0),
            "grip": RewardTermCfg(func=franka.gripping, weight=1.0),
            "lifted": RewardTermCfg(func=lifted, weight=5.0),
            "distance": RewardTermCfg(func=closeness, weight=6.0, params={"scale": 0.2}),
            "distance_fine": RewardTermCfg(func=closeness, weight=3.0, params={"scale": 0.03}),
            "at_goal": RewardTermCfg(func=success, weight=3.0),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01),
        },
        terminations={
            "time_out": TerminationTermCfg(func=mdp.time_out, time_out=True),
            "out_of_reach": TerminationTermCfg(func=objects.left, params={"arena": ARENA}),
        },
    )


@episode_state
def goal(env: EnvState) -> torch.Tensor:
    """Goal of each env's object, in the frame of the env [N, 3] [m]."""
    return torch.tensor((*CENTRE, LOWEST), device=env.device).repeat(env.num_envs, 1)


def reset_to_grade(env: EnvState, env_ids: torch.Tensor) -> None:
    """Draw an object, where it stands, and its goal above the table."""
    target, *placed = starts(env, env_ids, _start)
    goal(env).index_copy_(0, env.rows(env_ids), target)
    objects.place(env, env_ids, *placed)


def _start(env: EnvState) -> tuple[torch.Tensor, ...]:
    """Goals [N, 3] [m], and what `objects.place` takes."""
    chosen = objects.draw(env, "objects")
    height = objects.rest_height(env, chosen)[:, None]
    start, target = (
        env.constant(CENTRE) + env.param(name)[:, None] * env.draws.within(name, 2)
        for name in ("start_spread", "goal_spread")
    )
    above = LOWEST + env.draws.uniform("goal_height") * (env.param("goal_height") - LOWEST)
    position = torch.cat((start, height), dim=-1)
    return (
        torch.cat((target, height + above[:, None]), dim=-1),
        chosen[:, None],
        position[:, None],
        objects.upright(env, "yaw")[:, None],
    )


def way(env: EnvState) -> torch.Tensor:
    """From the object to the goal [N, 3] [m]."""
    return goal(env) - objects.position(env)


def distance(env: EnvState) -> torch.Tensor:
    """Of the object from the goal [N] [m]."""
    return way(env).norm(dim=-1)


def lifted(env: EnvState) -> torch.Tensor:
    """0 with the object on the floor, 1 from `LIFTED` above it on: each of the first millimetres counts [N]."""
    return (env.now(objects.clearance) / LIFTED).clamp(0.0, 1.0)


def closeness(env: EnvState, scale: float) -> torch.Tensor:
    """1 with the object at the goal, 0.5 about half of `scale` [m] from it, 0 on the floor [N]."""
    return env.now(lifted) * (1.0 - (env.now(distance) / scale).tanh())


def success(env: EnvState) -> torch.Tensor:
    """Object within the tolerance of the goal [N] bool."""
    return env.now(distance) < env.param("tolerance")


def marks(env: EnvState) -> list[Mark]:
    """The goal and its tolerance."""
    return [("lime", camera.ring(goal(env), env.param("tolerance")))]
