"""`LabEnv`: Isaac Lab's `ManagerBasedRLEnv` behind the `TensorEnv` contract."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from isaaclab.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg
from isaaclab.managers import TerminationManager

from tasks import engines
from tasks.env import TensorEnv
from tasks.spec import TaskSpec


class _SuccessFirst(TerminationManager):
    """Evaluates success where the terminations are: after the physics, before rewards and resets."""

    def compute(self) -> torch.Tensor:
        self._env.success = self._env.owner._hold(self._env.success_condition(self._env))
        return super().compute()


class GradedEnv(ManagerBasedRLEnv):
    """What a task's terms get as `env`: Isaac Lab's env, plus the difficulty of each row."""

    def __init__(self, cfg: ManagerBasedRLEnvCfg, owner: LabEnv, success: Callable[[GradedEnv], torch.Tensor]) -> None:
        """Build the scene; `success` maps the env to the momentary success condition [N] bool."""
        self.owner, self.success_condition = owner, success
        self.success = torch.zeros(owner.num_envs, dtype=torch.bool, device=owner.device)
        super().__init__(cfg)

    def param(self, name: str, env_ids: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Value of the declared grade parameter at the difficulty of rows `env_ids`: [k]."""
        return self.owner.spec.grades[name].at(self.owner.difficulty[env_ids])

    def load_managers(self) -> None:
        """Isaac Lab's managers, with success evaluated first."""
        super().load_managers()
        self.termination_manager = _SuccessFirst(self.cfg.terminations, self)

    def _reset_idx(self, env_ids: torch.Tensor | slice) -> None:
        env_ids = self.owner._all[env_ids]  # Isaac Lab passes a slice where it means all: terms get ids always
        self.owner._assign_difficulty(env_ids)
        super()._reset_idx(env_ids)


class LabEnv(TensorEnv):
    """A task on one of Isaac Lab's engines. One per process.

    Args:
        spec: the task's declaration; timing and spaces come from it.
        cfg: scene, observations (group `policy`), actions, events, rewards and terminations.
        success: the momentary success condition, a function of the env [N] bool.
        num_envs: N.
        device: `cpu` or `cuda:K`.
        engine: a concrete engine, see `tasks.engines.check`.
        newton: solver settings of the task for `newton_mjwarp`.
    """

    def __init__(
        self,
        spec: TaskSpec,
        cfg: ManagerBasedRLEnvCfg,
        success: Callable[[GradedEnv], torch.Tensor],
        *,
        num_envs: int,
        device: str,
        engine: str,
        newton: dict[str, Any],
    ) -> None:
        """Launch the engine and build the scene."""
        super().__init__(spec, num_envs, device)
        self._all = torch.arange(num_envs, dtype=torch.int32, device=self.device)  # what Isaac Lab's kernels take
        cfg.scene.num_envs = num_envs
        cfg.decimation, cfg.episode_length_s, cfg.compute_final_obs = spec.decimation, spec.episode_length_s, True
        cfg.sim.dt, cfg.sim.render_interval, cfg.sim.device = spec.physics_dt, spec.decimation, device
        cfg.sim.physics = engines.physics_cfg(engine, newton)
        cfg.sim.use_newton_actuators = False  # its CUDA graph would compile every registered kernel first
        cfg.seed = 0  # what is drawn while building; episodes are seeded by `reset`
        self._stack = ExitStack()
        self._stack.enter_context(engines.launch(cfg, device))
        self._env = GradedEnv(cfg, self, success)
        self._stack.callback(self._env.close)
        declared = (spec.obs_dim, spec.action_dim)
        built = (self._env.observation_manager.group_obs_dim["policy"][0], self._env.action_manager.total_action_dim)
        if built != declared:
            raise RuntimeError(f"{spec.name}: built with (obs, action) widths {built}, declared {declared}")

    def reset(self, seed: int | None = None) -> torch.Tensor:
        """See `TensorEnv.reset`. Isaac Lab draws from the global generators, so `seed` sets those."""
        return self._env.reset(seed=seed)[0]["policy"]

    def step(
        self, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """See `TensorEnv.step`."""
        difficulty = self.difficulty.clone()  # the reset inside the step assigns new ones
        obs, reward, terminated, truncated, extras = self._env.step(action)
        terms = self._env.termination_manager
        final = extras.get("final_obs")  # absent until the first row of the run has ended
        return (
            obs["policy"],
            reward,
            terminated,
            truncated,
            {
                "final_obs": obs["policy"] if final is None else final["policy"],
                "success": self._env.success,
                "difficulty": difficulty,
                "factors": {},
                "terminations": {name: terms.get_term(name) for name in terms.active_terms},
            },
        )

    def close(self) -> None:
        """See `TensorEnv.close`."""
        self._stack.close()
