"""The task franka-touch: scene, observations, rewards and success."""

import isaaclab.envs.mdp as mdp
import torch
from isaaclab.managers import EventTermCfg, RewardTermCfg, TerminationTermCfg

from tasks.core.env_state import episode_state
from tasks.isaaclab import declared, terms
from tasks.isaaclab.lab_env import LabEnv
from tasks.manipulation import franka

CENTRE = (0.5, 0.0, 0.4)  # [m] of the points, in the frame of the base


def make_env(spec, **where):
    """Build the env. `where` has num_envs, device and engine."""
    cfg = terms.env_cfg(
        scene=terms.scene(env_spacing=2.5, ground=terms.ground(-franka.PEDESTAL), robot=franka.panda()),
        observations=declared.observations(spec, mdp, **franka.arm_state()),  # `way` and `last_action` by their names
        actions=declared.action(spec, mdp.JointPositionActionCfg(asset_name="robot", joint_names=[franka.ARM])),
        events={"home": franka.near_start(0.1), "point": EventTermCfg(func=draw_point, mode="reset")},
        rewards={
            "near": RewardTermCfg(func=near, weight=1.0),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.005),
        },
        terminations={"time_out": TerminationTermCfg(func=mdp.time_out, time_out=True)},
    )
    solver = {"njmax": 100, "nconmax": 20, "cone": "pyramidal", "impratio": 1}  # of MuJoCo-Warp
    return LabEnv(spec, cfg, success, safety=declared.safety(spec, **franka.SAFETY), newton=solver, **where)


@episode_state
def point(env):
    """Where the TCP has to go, in the frame of the base [N, 3] [m]."""
    return torch.tensor(CENTRE, device=env.device).repeat(env.num_envs, 1)


def draw_point(env, env_ids):
    """Draw the points of the episodes that start in rows `env_ids` [k]."""
    rows = env.rows(env_ids)
    offset = env.draws.within("point", 3)  # of all rows, from -1 to 1: the same for every policy and number of envs
    point(env)[rows] = (env.constant(CENTRE) + env.param("spread")[:, None] * offset)[rows]


def way(env):
    """From the TCP to the point [N, 3] [m]."""
    return point(env) - franka.tcp_position(env)


def near(env):
    """1 at the point, 0.5 about 5 cm from it [N]."""
    return 1.0 - (way(env).norm(dim=-1) / 0.1).tanh()


def success(env):
    """The TCP is within the tolerance of the point [N] bool."""
    return way(env).norm(dim=-1) < env.param("tolerance")
