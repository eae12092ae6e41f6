"""Scene and MDP of `franka-stack`."""

from __future__ import annotations

from collections.abc import Callable

import isaaclab.envs.mdp as mdp
import torch
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg

from tasks.core.draws import direction
from tasks.core.env_state import EnvState, episode_state
from tasks.cuda.record import starts
from tasks.isaaclab import declared, terms
from tasks.isaaclab.lab_env import LabEnv
from tasks.manipulation import franka, objects
from tasks.spec import TaskSpec

BASES, TOPS, THIRD = (0.07, 0.05, 0.04), (0.05, 0.04), 0.035  # [m] edges
BASE, TOP, LAST = 0, 1, 2  # parts that cubes play; the last one stays away below g5
CENTRE = (0.53, 0.0)  # [m] of the starts of the bases
APART = 0.12  # [m] the least between two cubes' starts
ARENA = ((0.2, -0.45), (0.85, 0.45))  # [m] corners of what the cubes must not leave
LIFTED = 0.05  # [m]
TOLERANCE = 0.01  # [m] of a stacked cube's height
AWAY = 0.06  # [m] of the TCP from a cube that the hand has left


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 200, "nconmax": 60, **objects.CONTACTS}
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
    cubes = {f"base{k}": objects.cube(edge, (0.2, 0.4, 0.8)) for k, edge in enumerate(BASES)}
    cubes |= {f"top{k}": objects.cube(edge, (0.8, 0.2, 0.1)) for k, edge in enumerate(TOPS)}
    cubes |= {"third": objects.cube(THIRD, (0.2, 0.7, 0.3))}
    return terms.env_cfg(
        scene=franka.handling_scene(franka.handling_panda(), objects=objects.collection(**cubes)),
        observations=declared.observations(
            spec,
            franka,
            mdp,
            **franka.arm_state(),
            cube_position=ObservationTermCfg(func=now, params={"of": franka.object_from_tcp}),
            cube_axes=ObservationTermCfg(func=now, params={"of": objects.axes}),
            cube_velocity=ObservationTermCfg(func=now, params={"of": objects.velocity}),
            place=ObservationTermCfg(func=now, params={"of": to_place}),
            base_axes=ObservationTermCfg(func=now, params={"of": axes_below}),
        ),
        actions=declared.action(spec, franka.hand(spec)),
        events={
            "home": franka.near_start(0.05),
            "start": EventTermCfg(func=reset_to_grade, mode="reset"),
        },
        rewards={
            "reach": RewardTermCfg(func=now, weight=1.0, params={"of": reaching}),
            "grip": RewardTermCfg(func=now, weight=1.0, params={"of": gripping}),
            "lifted": RewardTermCfg(func=now, weight=4.0, params={"of": lifted}),
            "distance": RewardTermCfg(func=now, weight=4.0, params={"of": near_place}),
            "on": RewardTermCfg(func=now, weight=4.0, params={"of": on}),
            "let_go": RewardTermCfg(func=now, weight=4.0, params={"of": let_go}),
            "withdrawn": RewardTermCfg(func=now, weight=6.0, params={"of": withdrawn}),
            "one_done": RewardTermCfg(func=one_done, weight=24.0),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01),
        },
        terminations={
            "time_out": TerminationTermCfg(func=mdp.time_out, time_out=True),
            "out_of_reach": TerminationTermCfg(func=objects.left, params={"arena": ARENA, "parts": 2}),
        },
    )


def reset_to_grade(env: EnvState, env_ids: torch.Tensor) -> None:
    """Draw the cubes and put them on the table in a row: top, base and, where it takes part, the third."""
    objects.place(env, env_ids, *starts(env, env_ids, _start))
    next_part(env).index_fill_(0, env.rows(env_ids), TOP)


def _start(env: EnvState) -> tuple[torch.Tensor, ...]:
    """What `objects.place` takes."""
    base, top = objects.draw(env, "bases"), objects.draw(env, "tops")
    chosen = torch.stack((base, len(BASES) + top, torch.full_like(top, len(BASES) + len(TOPS))), dim=-1)
    spread = env.param("spread")
    row = direction(env.param("bearing") * env.draws.within("bearing"))
    position = objects.parked(env, chosen)
    position[:, BASE, :2] = env.constant(CENTRE) + 0.5 * spread[:, None] * env.draws.within("base", 2)
    for part, side in ((TOP, -1.0), (LAST, 1.0)):
        away = (APART + 0.5 * spread * env.draws.uniform(f"away{part}"))[:, None]
        takes_part = (env.param("cubes") > part + 0.999)[:, None]
        position[:, part, :2] = torch.where(
            takes_part, position[:, BASE, :2] + side * away * row, position[:, part, :2]
        )
    turned = torch.stack([objects.upright(env, "yaw", part) for part in (BASE, TOP, LAST)], dim=1)
    return chosen, position, turned


@episode_state
def next_part(env: EnvState) -> torch.Tensor:
    """Which cube has to be stacked now [N]: `TOP`, or `LAST` where that is let go of on its base and a third waits."""
    return torch.full((env.num_envs,), TOP, device=env.device)


def now(env: EnvState, of: Callable[[EnvState, objects.Part], torch.Tensor]) -> torch.Tensor:
    """`of(env, part)` for the cube that has to be stacked now."""
    return env.now(of, next_part(env))


def to_place(env: EnvState, part: objects.Part) -> torch.Tensor:
    """From a cube to where it belongs, on the one below [N, 3] [m]."""
    below = part - 1
    way = objects.position(env, below) - objects.position(env, part)
    way[:, 2] += objects.chosen_height(env, below) + objects.chosen_height(env, part)
    return way


def axes_below(env: EnvState, part: objects.Part) -> torch.Tensor:
    """Directions of the x and y axes of the cube below [N, 6]."""
    return objects.axes(env, part - 1)


def lifted(env: EnvState, part: objects.Part) -> torch.Tensor:
    """0 with the cube on the floor, 1 from `LIFTED` above it on [N]."""
    return (objects.clearance(env, part) / LIFTED).clamp(0.0, 1.0)


def near_place(env: EnvState, part: objects.Part) -> torch.Tensor:
    """1 with the cube at its place, less with distance, 0 on the floor [N].

    Sideways of its place a cube should be up to 5 cm higher, so that it comes down on the one below.
    """
    way = env.now(to_place, part).clone()
    sideways = way[:, :2].norm(dim=-1)
    way[:, 2] += sideways.clamp(max=0.05)
    distance = way.norm(dim=-1)
    return env.now(lifted, part) * (1.0 - 0.5 * (distance / 0.2).tanh() - 0.5 * (distance / 0.03).tanh())


def on(env: EnvState, part: objects.Part) -> torch.Tensor:
    """The cube rests where it belongs, whoever holds it: its centre over the one below [N] bool."""
    way = env.now(to_place, part)
    over = way[:, :2].norm(dim=-1) < 0.8 * objects.chosen_height(env, part - 1)
    return over & (way[:, 2].abs() < TOLERANCE)


def reaching(env: EnvState, part: objects.Part) -> torch.Tensor:
    """How near the hand is to the cube; where that rests it may leave [N]."""
    return franka.reaching(env, part).masked_fill(env.now(on, part), 1.0)


def gripping(env: EnvState, part: objects.Part) -> torch.Tensor:
    """Share by which the fingers have closed on the cube; where that rests they may open [N]."""
    return franka.gripping(env, part).masked_fill(env.now(on, part), 1.0)


def let_go(env: EnvState, part: objects.Part) -> torch.Tensor:
    """Share by which the fingers are told to open, while the cube is where it belongs [N].

    Told, because a hand must ease its grip a good deal before its fingers move at all.
    """
    return env.now(on, part) * (1.0 - env.action_manager.action[:, -1].clamp(0.0, 1.0))


def withdrawn(env: EnvState, part: objects.Part) -> torch.Tensor:
    """Share of the way that the hand has gone from the cube, with fingers wider than it, where it belongs [N]."""
    held = objects.chosen_height(env, part) / franka.OPEN  # half an edge is what each finger has travelled
    wider = ((franka.opening(env)[:, 0] - held) / (1.0 - held)).clamp(0.0, 1.0)
    gone = (franka.object_from_tcp(env, part).norm(dim=-1) / AWAY).clamp(max=1.0)
    return env.now(on, part) * wider * gone


def placed(env: EnvState, part: objects.Part) -> torch.Tensor:
    """The cube rests where it belongs, and the hand has left it [N] bool."""
    away = franka.object_from_tcp(env, part).norm(dim=-1) > AWAY
    return env.now(on, part) & away & (objects.velocity(env, part).norm(dim=-1) < 0.05)


def one_done(env: EnvState) -> torch.Tensor:
    """The first of two cubes is stacked: as much as it could still get for that one [N]."""
    return (next_part(env) == LAST).float()


def success(env: EnvState) -> torch.Tensor:
    """All cubes stacked and left alone [N] bool. Notes for the terms which cube comes next."""
    three = env.param("cubes") > LAST + 0.999
    top = placed(env, TOP)
    stacked = top | ((next_part(env) == LAST) & env.now(on, TOP))
    next_part(env).copy_(TOP + (stacked & three))  # before anything asks for `now` in this state
    return torch.where(three, stacked & placed(env, LAST), top)
