"""`franka-lift`: the Panda has to grasp an object and hold it at a goal in the air."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tasks import factors, panda
from tasks.spec import PARTING_CONTACTS, GradeParam, TaskSpec, Term, View

if TYPE_CHECKING:
    import torch
    from isaaclab.envs import ManagerBasedRLEnvCfg

    from tasks.camera import Mark
    from tasks.lab_env import GradedEnv, LabEnv

SPEC = TaskSpec(
    name="franka-lift",
    summary="Grasp an object and hold it at a goal in the air.",
    robot="Franka Panda",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.franka_lift:make_env",
    observations=(
        *panda.arm_state("the start pose"),
        panda.OPENING,
        panda.TCP_POSITION,
        Term("object_position", 3, "m", "from the TCP", sigma=0.005),
        Term("object_axes", 6, "1", "directions of the object's x and y axes", sigma=0.02),
        Term("object_velocity", 3, "m/s", sigma=0.02),
        Term("goal_position", 3, "m", "from the object", sigma=0.005),
        Term("last_action", 5, "1"),
    ),
    actions=(panda.HAND_MOTION, panda.HAND_TURN, panda.GRIPPER),
    physics_dt=1 / 100,
    decimation=5,
    episode_length_s=5.0,
    success="centre of the object within the tolerance of the goal",
    success_hold_s=0.5,
    success_when="once",
    grades={
        "objects": GradeParam((1, 2, 3, 4, 5), "1", "how many of cube, bar, can, small cube and ball may come"),
        "start_spread": GradeParam((0.02, 0.05, 0.08, 0.12, 0.15), "m", "half the edge of the square of starts"),
        "yaw": GradeParam((0.1, 0.3, 0.6, 1.0, math.pi / 2), "rad", "largest turn of the object at the start"),
        "goal_height": GradeParam((0.1, 0.14, 0.18, 0.22, 0.28), "m", "largest height of the goal above the start"),
        "goal_spread": GradeParam((0.02, 0.06, 0.1, 0.15, 0.2), "m", "half the edge of the square of goals"),
        "tolerance": GradeParam((0.05, 0.04, 0.03, 0.02, 0.005), "m", "largest distance at the goal"),
    },
    budgets={"smoke": 100_000, "quick": 8_000_000, "full": 15_000_000},
    view=View(eye=(1.5, 0.9, 0.9), target=(0.3, -0.05, 0.15), marks="tasks.franka_lift:marks"),
    discrete_actions=panda.gripper_actions(4),
    sensors=("contact force of the fingers",),
    safety=panda.HANDLING_SAFETY,
    factors=factors.arm("panda_link7", "objects"),
    assets=("panda",),
    inexact=PARTING_CONTACTS,
)

LOWEST = 0.08  # [m] of the goal above the start: further than any tolerance
CENTRE = (0.5, 0.0)  # [m] of the squares of starts and goals
ARENA = ((0.2, -0.45), (0.85, 0.45))  # [m] corners of what the object must not leave
LIFTED = 0.05  # [m] above the floor


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    from tasks import franka, objects
    from tasks.lab_env import LabEnv

    newton = {"njmax": 160, "nconmax": 50, **objects.CONTACTS}
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


def bodies() -> dict[str, Any]:
    """The objects, in the order in which the grades bring them."""
    import isaaclab.sim as sim_utils

    from tasks import objects

    return {
        "cube": objects.cube(0.05),
        "bar": objects.body(sim_utils.CuboidCfg, (0.2, 0.4, 0.8), size=(0.1, 0.03, 0.035)),
        "can": objects.body(sim_utils.CylinderCfg, (0.2, 0.7, 0.3), radius=0.022, height=0.07),
        "small": objects.cube(0.03, color=(0.9, 0.7, 0.1)),
        "ball": objects.body(sim_utils.SphereCfg, (0.6, 0.3, 0.7), radius=0.025),
    }


def env_cfg() -> ManagerBasedRLEnvCfg:
    """Scene and MDP."""
    import isaaclab.envs.mdp as mdp
    from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg

    from tasks import franka, objects, terms

    return terms.env_cfg(
        scene=franka.handling_scene(franka.handling_panda(), objects=objects.collection(**bodies())),
        observations={
            "policy": terms.observation_group(
                **franka.arm_state(),
                opening=ObservationTermCfg(func=franka.opening),
                tcp_position=ObservationTermCfg(func=franka.tcp_position),
                object_position=ObservationTermCfg(func=franka.object_from_tcp),
                object_axes=ObservationTermCfg(func=objects.axes),
                object_velocity=ObservationTermCfg(func=objects.velocity),
                goal_position=ObservationTermCfg(func=way),
                last_action=ObservationTermCfg(func=mdp.last_action),
            )
        },
        actions={"hand": franka.HandActionCfg()},
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


def goal(env: GradedEnv) -> torch.Tensor:
    """Goal of each env's object, in the frame of the env [N, 3] [m]."""
    if not hasattr(env, "goal_position"):  # the observation manager asks before the first reset
        import torch

        env.goal_position = torch.tensor((*CENTRE, LOWEST), device=env.device).repeat(env.num_envs, 1)
    return env.goal_position


def reset_to_grade(env: GradedEnv, env_ids: torch.Tensor) -> None:
    """Draw an object, where it stands, and its goal above the table."""
    import torch
    from isaaclab.utils.math import sample_uniform

    from tasks import objects

    k = len(env_ids)
    chosen = objects.draw(env, "objects", env_ids)
    height = objects.rest_height(env, chosen)[:, None]
    start, target = (
        env.constant(CENTRE) + env.param(name, env_ids)[:, None] * sample_uniform(-1.0, 1.0, (k, 2), env.device)
        for name in ("start_spread", "goal_spread")
    )
    above = sample_uniform(LOWEST, env.param("goal_height", env_ids), (k,), env.device)[:, None]
    goal(env)[env_ids] = torch.cat((target, height + above), dim=-1)
    position = torch.cat((start, height), dim=-1)
    objects.place(env, env_ids, chosen[:, None], position[:, None], objects.upright(env, "yaw", env_ids)[:, None])


def way(env: GradedEnv) -> torch.Tensor:
    """From the object to the goal [N, 3] [m]."""
    from tasks import objects

    return goal(env) - objects.position(env)


def distance(env: GradedEnv) -> torch.Tensor:
    """Of the object from the goal [N] [m]."""
    return way(env).norm(dim=-1)


def lifted(env: GradedEnv) -> torch.Tensor:
    """0 with the object on the floor, 1 from `LIFTED` above it on: each of the first millimetres counts [N]."""
    from tasks import objects

    return (env.now(objects.clearance) / LIFTED).clamp(0.0, 1.0)


def closeness(env: GradedEnv, scale: float) -> torch.Tensor:
    """1 with the object at the goal, 0.5 about half of `scale` [m] from it, 0 on the floor [N]."""
    return env.now(lifted) * (1.0 - (env.now(distance) / scale).tanh())


def success(env: GradedEnv) -> torch.Tensor:
    """Object within the tolerance of the goal [N] bool."""
    return env.now(distance) < env.param("tolerance")


def marks(env: GradedEnv) -> list[Mark]:
    """The goal and its tolerance."""
    from tasks import camera

    return [("lime", camera.ring(goal(env), env.param("tolerance")))]
