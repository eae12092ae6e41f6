"""`franka-stack`: the Panda has to put one cube on another, at the last grade a third one on top, and let go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks import factors, panda
from tasks.spec import GradeParam, TaskSpec, Term, View

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from isaaclab.envs import ManagerBasedRLEnvCfg

    from tasks import objects
    from tasks.lab_env import GradedEnv, LabEnv

SPEC = TaskSpec(
    name="franka-stack",
    summary="Stack two cubes, at the last grade three, and let go of them.",
    robot="Franka Panda",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.franka_stack:make_env",
    observations=(
        *panda.arm_state("the start pose"),
        panda.OPENING,
        panda.TCP_POSITION,
        Term("cube_position", 3, "m", "of the cube to be stacked now, from the TCP", sigma=0.005),
        Term("cube_axes", 6, "1", "directions of its x and y axes", sigma=0.02),
        Term("cube_velocity", 3, "m/s", sigma=0.02),
        Term("place", 3, "m", "where it belongs, from where it is", sigma=0.005),
        Term("base_axes", 6, "1", "directions of the x and y axes of the cube below that place", sigma=0.02),
        Term("last_action", 5, "1"),
    ),
    actions=(panda.HAND_MOTION, panda.HAND_TURN, panda.GRIPPER),
    physics_dt=1 / 100,
    decimation=5,
    episode_length_s=10.0,
    success="all cubes stacked and slower than 5 cm/s, the TCP 6 cm or more from the last one",
    success_hold_s=0.5,
    success_when="once",
    grades={
        "cubes": GradeParam((2, 2, 2, 2, 3), "1", "how many cubes to stack"),
        "bases": GradeParam((1, 1, 2, 3, 3), "1", "how many of the bases with 7, 5 and 4 cm edge may come"),
        "tops": GradeParam((1, 2, 2, 2, 2), "1", "how many of the cubes with 5 and 4 cm edge may come on it"),
        "spread": GradeParam((0.02, 0.04, 0.06, 0.09, 0.12), "m", "largest distance from the mean starts"),
        "bearing": GradeParam((0.3, 0.8, 1.6, 2.4, math.pi), "rad", "largest turn of the cubes' row at the start"),
        "yaw": GradeParam((0.1, 0.3, 0.5, 0.7, math.pi / 4), "rad", "largest turn of each cube at the start"),
    },
    budgets={"smoke": 100_000, "quick": 15_000_000, "full": 30_000_000},
    view=View(eye=(1.5, 0.9, 0.9), target=(0.3, -0.05, 0.15)),
    discrete_actions=panda.gripper_actions(4),
    sensors=("contact force of the fingers",),
    safety=panda.HANDLING_SAFETY,
    factors=factors.arm("panda_link7", "objects"),
    assets=("panda",),
)

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
    from tasks import franka, objects
    from tasks.lab_env import LabEnv

    newton = {"njmax": 200, "nconmax": 60, **objects.CONTACTS}
    return LabEnv(
        spec,
        env_cfg(),
        success,
        safety=franka.HANDLING_SAFETY,
        num_envs=num_envs,
        device=device,
        engine=engine,
        newton=newton,
    )


def env_cfg() -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    import isaaclab.envs.mdp as mdp
    from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg

    from tasks import franka, objects, terms

    cubes = {f"base{k}": objects.cube(edge, (0.2, 0.4, 0.8)) for k, edge in enumerate(BASES)}
    cubes |= {f"top{k}": objects.cube(edge, (0.8, 0.2, 0.1)) for k, edge in enumerate(TOPS)}
    cubes |= {"third": objects.cube(THIRD, (0.2, 0.7, 0.3))}
    return terms.env_cfg(
        scene=franka.handling_scene(franka.handling_panda(), objects=objects.collection(**cubes)),
        observations={
            "policy": terms.observation_group(
                **franka.arm_state(),
                opening=ObservationTermCfg(func=franka.opening),
                tcp_position=ObservationTermCfg(func=franka.tcp_position),
                cube_position=ObservationTermCfg(func=now, params={"of": franka.object_from_tcp}),
                cube_axes=ObservationTermCfg(func=now, params={"of": objects.axes}),
                cube_velocity=ObservationTermCfg(func=now, params={"of": objects.velocity}),
                place=ObservationTermCfg(func=now, params={"of": to_place}),
                base_axes=ObservationTermCfg(func=now, params={"of": axes_below}),
                last_action=ObservationTermCfg(func=mdp.last_action),
            )
        },
        actions={"hand": franka.HandActionCfg()},
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


def reset_to_grade(env: GradedEnv, env_ids: torch.Tensor) -> None:
    """Draw the cubes and put them on the table in a row: top, base and, where it takes part, the third."""
    import torch
    from isaaclab.utils.math import sample_uniform

    from tasks import objects

    k = len(env_ids)
    base, top = objects.draw(env, "bases", env_ids), objects.draw(env, "tops", env_ids)
    chosen = torch.stack((base, len(BASES) + top, torch.full_like(top, len(BASES) + len(TOPS))), dim=-1)
    spread = env.param("spread", env_ids)
    angle = env.param("bearing", env_ids) * sample_uniform(-1.0, 1.0, (k,), env.device)
    row = torch.stack((angle.cos(), angle.sin()), dim=-1)
    position = objects.parked(env, chosen)
    position[:, BASE, :2] = env.constant(CENTRE) + 0.5 * spread[:, None] * sample_uniform(-1.0, 1.0, (k, 2), env.device)
    for part, side in ((TOP, -1.0), (LAST, 1.0)):
        away = (APART + 0.5 * spread * sample_uniform(0.0, 1.0, (k,), env.device))[:, None]
        takes_part = (env.param("cubes", env_ids) > part + 0.999)[:, None]
        position[:, part, :2] = torch.where(
            takes_part, position[:, BASE, :2] + side * away * row, position[:, part, :2]
        )
    turned = torch.stack([objects.upright(env, "yaw", env_ids) for _ in range(3)], dim=1)
    objects.place(env, env_ids, chosen, position, turned)
    next_part(env)[env_ids] = TOP


def next_part(env: GradedEnv) -> torch.Tensor:
    """Which cube has to be stacked now [N]: `TOP`, or `LAST` where that is let go of on its base and a third waits."""
    if not hasattr(env, "next_part"):  # the observation manager asks before the first reset
        import torch

        env.next_part = torch.full((env.num_envs,), TOP, device=env.device)
    return env.next_part


def now(env: GradedEnv, of: Callable[[GradedEnv, objects.Part], torch.Tensor]) -> torch.Tensor:
    """`of(env, part)` for the cube that has to be stacked now."""
    return env.now(of, next_part(env))


def to_place(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """From a cube to where it belongs, on the one below [N, 3] [m]."""
    from tasks import objects

    below = part - 1
    way = objects.position(env, below) - objects.position(env, part)
    way[:, 2] += objects.chosen_height(env, below) + objects.chosen_height(env, part)
    return way


def axes_below(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """Directions of the x and y axes of the cube below [N, 6]."""
    from tasks import objects

    return objects.axes(env, part - 1)


def lifted(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """0 with the cube on the floor, 1 from `LIFTED` above it on [N]."""
    from tasks import objects

    return (objects.clearance(env, part) / LIFTED).clamp(0.0, 1.0)


def near_place(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """1 with the cube at its place, less with distance, 0 on the floor [N].

    Sideways of its place a cube should be up to 5 cm higher, so that it comes down on the one below.
    """
    way = env.now(to_place, part).clone()
    sideways = way[:, :2].norm(dim=-1)
    way[:, 2] += sideways.clamp(max=0.05)
    distance = way.norm(dim=-1)
    return env.now(lifted, part) * (1.0 - 0.5 * (distance / 0.2).tanh() - 0.5 * (distance / 0.03).tanh())


def on(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """The cube rests where it belongs, whoever holds it: its centre over the one below [N] bool."""
    from tasks import objects

    way = env.now(to_place, part)
    over = way[:, :2].norm(dim=-1) < 0.8 * objects.chosen_height(env, part - 1)
    return over & (way[:, 2].abs() < TOLERANCE)


def reaching(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """How near the hand is to the cube; where that rests it may leave [N]."""
    from tasks import franka

    return franka.reaching(env, part).masked_fill(env.now(on, part), 1.0)


def gripping(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """Share by which the fingers have closed on the cube; where that rests they may open [N]."""
    from tasks import franka

    return franka.gripping(env, part).masked_fill(env.now(on, part), 1.0)


def let_go(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """Share by which the fingers are told to open, while the cube is where it belongs [N].

    Told, because a hand must ease its grip a good deal before its fingers move at all.
    """
    return env.now(on, part) * (1.0 - env.action_manager.action[:, -1].clamp(0.0, 1.0))


def withdrawn(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """Share of the way that the hand has gone from the cube, with fingers wider than it, where it belongs [N]."""
    from tasks import franka, objects

    held = objects.chosen_height(env, part) / franka.OPEN  # half an edge is what each finger has travelled
    wider = ((franka.opening(env)[:, 0] - held) / (1.0 - held)).clamp(0.0, 1.0)
    gone = (franka.object_from_tcp(env, part).norm(dim=-1) / AWAY).clamp(max=1.0)
    return env.now(on, part) * wider * gone


def placed(env: GradedEnv, part: objects.Part) -> torch.Tensor:
    """The cube rests where it belongs, and the hand has left it [N] bool."""
    from tasks import franka, objects

    away = franka.object_from_tcp(env, part).norm(dim=-1) > AWAY
    return env.now(on, part) & away & (objects.velocity(env, part).norm(dim=-1) < 0.05)


def one_done(env: GradedEnv) -> torch.Tensor:
    """The first of two cubes is stacked: as much as it could still get for that one [N]."""
    return (next_part(env) == LAST).float()


def success(env: GradedEnv) -> torch.Tensor:
    """All cubes stacked and left alone [N] bool. Notes for the terms which cube comes next."""
    import torch

    three = env.param("cubes") > LAST + 0.999
    top = placed(env, TOP)
    stacked = top | ((next_part(env) == LAST) & env.now(on, TOP))
    next_part(env).copy_(TOP + (stacked & three))  # before anything asks for `now` in this state
    return torch.where(three, stacked & placed(env, LAST), top)
