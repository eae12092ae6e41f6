"""Scene and MDP of `go2-terrain`."""

from __future__ import annotations

import torch
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg

from tasks.core.env_state import EnvState
from tasks.isaaclab import terms
from tasks.isaaclab.lab_env import LabEnv
from tasks.locomotion import legged, terrain
from tasks.locomotion.go2_terrain.spec import NEAR, SPEC
from tasks.locomotion.go2_velocity import mdp as go2_velocity
from tasks.spec import TaskSpec

FALLEN_BELOW = 0.15  # [m] over the ground around the robot
PACE = 1.0  # [m/s] that the reward asks for


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    newton = {"njmax": 200, "nconmax": 60, "cone": "pyramidal", "impratio": 1, "use_mujoco_contacts": False}
    newton["max_triangle_pairs"] = 2_500_000
    limits = legged.safety(spec, go2_velocity.SPEEDS)
    return LabEnv(
        spec, env_cfg(spec), success, safety=limits, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def env_cfg(spec: TaskSpec) -> ManagerBasedRLEnvCfg:
    """Scene and MDP. The rewards are those of `go2-velocity`, but for the one for getting nearer to the goal."""
    return legged.walking_env_cfg(
        spec,
        scene=terms.scene(
            env_spacing=1.0,  # where the ground is made of tiles, they say where the robots start
            terrain=terrain.importer(SPEC.grades, legged.floor_material()),
            robot=go2_velocity.robot(),
            feet=legged.foot_contacts(go2_velocity.FEET),
        ),
        joints=go2_velocity.JOINTS,
        action_scale=0.5,
        command=terrain.GoalCommandCfg(pace=PACE, near=NEAR),
        observed={
            "goal": ObservationTermCfg(func=terrain.goal_in_base),
            "height_scan": ObservationTermCfg(func=terrain.height_scan),
        },
        events={"stand": EventTermCfg(func=terrain.stand_on_tile, mode="reset")},
        rewards=legged.quadruped_rewards(tilt=-0.5, torque=-2e-4, steps=0.25)
        | {"velocity": RewardTermCfg(func=terrain.progress, weight=1.5)},
        fallen=TerminationTermCfg(func=terrain.fallen, params={"height": FALLEN_BELOW}),
    )


def success(env: EnvState) -> torch.Tensor:
    """The robot is at the goal, and up [N] bool."""
    return (terrain.goal_distance(env) < NEAR) & ~terrain.fallen(env, FALLEN_BELOW)
