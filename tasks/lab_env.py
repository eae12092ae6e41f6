"""`LabEnv`: Isaac Lab's `ManagerBasedRLEnv` behind the `TensorEnv` contract."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from isaaclab.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg
from isaaclab.managers import TerminationManager

from tasks import camera, engines, overflow
from tasks.env import Step, TensorEnv
from tasks.spec import TaskSpec

Condition = Callable[["GradedEnv"], torch.Tensor]
"""A function of the env's momentary state: [N] bool."""


class _JudgeFirst(TerminationManager):
    """Evaluates success and safety where the terminations are: after the physics, before rewards and resets."""

    def compute(self) -> torch.Tensor:
        env = self._env
        env.success = env.owner._hold(env.success_condition(env))
        env.violations = {name: crossed(env) for name, crossed in env.safety_conditions.items()}
        return super().compute()


class GradedEnv(ManagerBasedRLEnv):
    """What a task's terms get as `env`: Isaac Lab's env, plus the difficulty of each row."""

    def __init__(
        self, cfg: ManagerBasedRLEnvCfg, owner: LabEnv, success: Condition, safety: dict[str, Condition]
    ) -> None:
        """Build the scene; see `LabEnv` for `success` and `safety`."""
        self.owner, self.success_condition, self.safety_conditions = owner, success, safety
        self.success = torch.zeros(owner.num_envs, dtype=torch.bool, device=owner.device)
        self.violations: dict[str, torch.Tensor] = {}
        self._joint_ids: dict[str, torch.Tensor] = {}
        super().__init__(cfg)

    def param(self, name: str, env_ids: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Value of the declared grade parameter at the difficulty of rows `env_ids`: [k]."""
        return self.owner.spec.grades[name].at(self.owner.difficulty[env_ids])

    def joint_ids(self, pattern: str) -> torch.Tensor:
        """Indices [k] of the joints that match `pattern`, on the device: a list would be copied there each step."""
        if pattern not in self._joint_ids:
            ids = self.scene["robot"].find_joints(pattern)[0]
            self._joint_ids[pattern] = torch.tensor(ids, device=self.device)
        return self._joint_ids[pattern]

    def load_managers(self) -> None:
        """Isaac Lab's managers, with success and safety evaluated first."""
        super().load_managers()
        self.termination_manager = _JudgeFirst(self.cfg.terminations, self)

    def _reset_idx(self, env_ids: torch.Tensor | slice) -> None:
        env_ids = self.owner._all[env_ids]  # Isaac Lab passes a slice where it means all: terms get ids always
        self.owner._assign(env_ids)
        super()._reset_idx(env_ids)
        self.owner._start(env_ids)


class LabEnv(TensorEnv):
    """A task on one of Isaac Lab's engines. One per process.

    Args:
        spec: the task's declaration; timing and spaces come from it.
        cfg: scene, observations (group `policy`, and `critic` where declared), actions, events, rewards, terminations.
        success: the momentary success condition.
        safety: the condition "crossed now" of every safety limit that the task declares.
        num_envs: N.
        device: `cpu` or `cuda:K`.
        engine: a concrete engine, see `tasks.engines.check`.
        newton: solver settings of the task for `newton_mjwarp`.
    """

    def __init__(
        self,
        spec: TaskSpec,
        cfg: ManagerBasedRLEnvCfg,
        success: Condition,
        *,
        safety: dict[str, Condition] | None = None,
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
        if spec.view.size:
            cfg.scene.camera = camera.sensor(spec.view)
        cfg.seed = 0  # what is drawn while building; episodes are seeded by `reset`
        self.engine = engine
        self.before_physics: list[Callable[[], None]] = []  # what effects do last before each control step
        self._shared: dict[tuple[type, int], Any] = {}
        self._stack = ExitStack()
        self._stack.enter_context(engines.launch(cfg, device))
        self._env = GradedEnv(cfg, self, success, safety or {})
        self._overflow = overflow.watch(engine, self._env.sim.physics_manager)
        self._stack.callback(self._env.close)
        self._check_declaration()

    def _check_declaration(self) -> None:
        groups = self._env.observation_manager.group_obs_dim
        built = {
            "observations": groups["policy"][0],
            "critic_observations": groups["critic"][0] if "critic" in groups else 0,
            "actions": self._env.action_manager.total_action_dim,
        }
        for field, width in built.items():
            declared = sum(term.dim for term in getattr(self.spec, field))
            if width != declared:
                raise RuntimeError(f"{self.spec.name}: {field} are {width} wide, declared {declared}")
        if set(self._env.safety_conditions) != set(self.spec.safety):
            raise RuntimeError(f"{self.spec.name}: safety limits built and declared differ")

    @property
    def scene(self) -> Any:
        """Isaac Lab's scene."""
        return self._env.scene

    @property
    def physics_manager(self) -> Any:
        """Isaac Lab's handle of the engine."""
        return self._env.sim.physics_manager

    def shared(self, kind: type, asset: Any) -> Any:
        """The one `kind(env, asset)`, which several effects use."""
        key = kind, id(asset)
        if key not in self._shared:
            self._shared[key] = kind(self, asset)
        return self._shared[key]

    def _obs(self, groups: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat((groups["policy"], groups["critic"]), dim=-1) if "critic" in groups else groups["policy"]

    def _reset(self, seed: int | None) -> torch.Tensor:
        return self._obs(self._env.reset(seed=seed)[0])  # Isaac Lab draws from the global generators: it seeds those

    def _step(self, action: torch.Tensor) -> Step:
        for write in self.before_physics:
            write()
        groups, reward, terminated, truncated, extras = self._env.step(action)
        self._overflow.note()
        obs = self._obs(groups)
        terms = self._env.termination_manager
        final = extras.get("final_obs")  # absent until the first row of the run has ended
        return (
            obs,
            reward,
            terminated,
            truncated & ~terminated,  # Isaac Lab sets both where a row fails in its last step
            {
                "final_obs": obs if final is None else self._obs(final),
                "success": self._env.success,
                "terminations": {name: terms.get_term(name) for name in terms.active_terms},
                "violations": self._env.violations,
            },
        )

    def overflows(self) -> int:
        """See `TensorEnv.overflows`."""
        return self._overflow.steps()

    def picture(self) -> np.ndarray:
        """What the camera of row 0 sees now: [height, width, 3] uint8. Only of a `TaskSpec.pictured` task."""
        return camera.picture(self._env, self.spec.view)

    def close(self) -> None:
        """See `TensorEnv.close`."""
        self._stack.close()
