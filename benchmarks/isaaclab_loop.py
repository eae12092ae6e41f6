"""A task's scene and MDP in Isaac Lab's own environment loop, wrapped for rsl_rl as Isaac Lab wraps it."""

from __future__ import annotations

from typing import Any

import isaaclab.envs.mdp as mdp
import torch
from isaaclab.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg
from isaaclab.managers import CommandTerm, EventTermCfg, SceneEntityCfg
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper

from tasks.isaaclab import lab_env, terms
from tasks.spec import TaskSpec


class StockLoop(lab_env.GradedEnv):
    """Isaac Lab's step, reset, managers and events; terms share nothing. Success and safety are not evaluated."""

    def __init__(self, cfg: ManagerBasedRLEnvCfg, *args: Any) -> None:
        for name, term in vars(cfg.events).items():
            setattr(cfg.events, name, stock_event(term))
        super().__init__(cfg, *args)

    step = ManagerBasedRLEnv.step
    load_managers = ManagerBasedRLEnv.load_managers

    def now(self, quantity: Any, *args: Any) -> Any:
        """Computed each time."""
        return quantity(self, *args)

    def _reset_idx(self, env_ids: torch.Tensor | slice) -> None:
        env_ids = self._assign(env_ids)
        ManagerBasedRLEnv._reset_idx(self, env_ids)


def stock_event(term: EventTermCfg) -> EventTermCfg:
    """Isaac Lab's term where ours is a shorter way to the same."""
    if term.func is terms.stand:
        yaw = term.params.get("yaw", 0.0)
        params = {"pose_range": {"yaw": (-yaw, yaw)}, "velocity_range": {}}
        return EventTermCfg(func=mdp.reset_root_state_uniform, mode="reset", params=params)
    if term.func is terms.bend:
        joints = SceneEntityCfg("robot", joint_names=list(term.params["joints"]), preserve_order=True)
        offset = term.params["offset"]
        params = {"position_range": (-offset, offset), "velocity_range": (0.0, 0.0), "asset_cfg": joints}
        return EventTermCfg(func=mdp.reset_joints_by_offset, mode="reset", params=params)
    return term


def build(spec: TaskSpec, num_envs: int, device: str, engine: str) -> RslRlVecEnvWrapper:
    """The env at difficulty 0 and nominal factors. The process cannot build another after it."""
    lab_env.GradedEnv = StockLoop
    for method in ("reset", "compute", "_resample"):
        setattr(terms.EpisodeCommand, method, getattr(CommandTerm, method))
    env = spec.build(num_envs, device, engine, recorded=False)._env
    env.cfg.compute_final_obs = False  # rsl_rl has no use for it
    return RslRlVecEnvWrapper(env, clip_actions=1.0)
