"""`LabEnv`: Isaac Lab's `ManagerBasedRLEnv` behind the `TensorEnv` contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from isaaclab.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg
from isaaclab.managers import ActionManager, CommandManager, CurriculumManager, RecorderManager

from tasks.core import engines
from tasks.core.draws import Draws
from tasks.core.env import Step
from tasks.core.episodes import EpisodeEnv, Outcome
from tasks.core.grades import Grades
from tasks.cuda.record import Recorded, starts
from tasks.isaaclab import camera, managers, private
from tasks.isaaclab.declared import Condition
from tasks.isaaclab.divergence import Watch
from tasks.isaaclab.launch import launch, set_scenery
from tasks.isaaclab.runtime import Runtime
from tasks.spec import TaskSpec

SOON = 1e-6
"""Time [s] before an event at intervals at which it is due, as in Isaac Lab."""


@dataclass(frozen=True)
class Hooks:
    """What `GradedEnv` has of the env that it is the inside of.

    Attributes:
        difficulty: see `EnvState.difficulty`; always the same tensor.
        draws: see `EnvState.draws`.
        begin: begins episodes in rows [k] int32.
        hold: see `EnvState.hold`.
        rows: see `EnvState.rows`.
        shared: see `EnvState.shared`.
    """

    difficulty: torch.Tensor
    draws: Draws
    begin: Callable[[torch.Tensor], None]
    hold: Callable[[torch.Tensor], torch.Tensor]
    rows: Callable[[torch.Tensor], torch.Tensor]
    shared: Callable[[Callable[..., Any], Any], Any]


class GradedEnv(ManagerBasedRLEnv):
    """What a task's terms get as `env`: Isaac Lab's env as an `EnvState`."""

    def __init__(
        self,
        cfg: ManagerBasedRLEnvCfg,
        spec: TaskSpec,
        runtime: Runtime,
        hooks: Hooks,
        success: Condition,
        safety: dict[str, Condition],
    ) -> None:
        """Build the scene; see `LabEnv` for `success` and `safety`."""
        self.task, self.runtime, self._hooks = spec, runtime, hooks
        self.difficulty, self.draws = hooks.difficulty, hooks.draws
        self.hold, self.rows, self.shared = hooks.hold, hooks.rows, hooks.shared
        self.success_condition, self.safety_conditions = success, safety
        num_envs, device = cfg.scene.num_envs, torch.device(cfg.sim.device)
        self.success = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self.violations: dict[str, torch.Tensor] = {}
        self._all = torch.arange(num_envs, dtype=torch.int32, device=device)  # what Isaac Lab's kernels take
        self._grades = Grades(spec, device)
        self._params = self._grades.at(self.difficulty)
        self._grade = self._set_params
        self.recording = False
        self._now: dict[tuple[Any, ...], Any] = {}
        self._kept: dict[tuple[Any, ...], Any] = {}
        self.divergence: Watch | None = None
        super().__init__(cfg)
        self._physics = runtime.stepper(self)
        self._judge = self._outcome
        self.divergence = runtime.divergence(self.scene, num_envs, device)

    def param(self, name: str, env_ids: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Value of the declared grade parameter at the difficulty of rows `env_ids`: [k]."""
        column = self._params[:, self._grades.names.index(name)]
        return column[env_ids] if isinstance(env_ids, slice) else column.index_select(0, env_ids)

    def now(self, quantity: Callable[..., Any], *args: Any) -> Any:
        """`quantity(self, *args)`, computed once for all who ask for it in one state of the simulation."""
        key = quantity, *args
        if key not in self._now:
            self._now[key] = quantity(self, *args)
        return self._now[key]

    def once(self, constant: Callable[..., Any], *args: Any) -> Any:
        """`constant(self, *args)`, computed at its first use and kept for good."""
        key = constant, *args
        if key not in self._kept:
            self._kept[key] = constant(self, *args)
        return self._kept[key]

    def constant(self, numbers: tuple[Any, ...]) -> torch.Tensor:
        """The numbers on the device: copied once, since a copy from the host waits for the device."""
        return self.once(_constant, numbers)

    def joint_ids(self, pattern: str) -> torch.Tensor | slice:
        """What selects the joints that match `pattern`, on the device: a list would be copied there each step."""
        return self.once(_joint_ids, pattern)

    def load_managers(self) -> None:
        """Isaac Lab's managers in its order, those that work in every step from `tasks.isaaclab.managers`."""
        cfg = self.cfg
        self.command_manager = CommandManager(cfg.commands, self)
        self.recorder_manager = RecorderManager(cfg.recorders, self)
        self.action_manager = ActionManager(cfg.actions, self)
        self.observation_manager = managers.Observations(cfg.observations, self)
        self.termination_manager = managers.Terminations(cfg.terminations, self)
        self.reward_manager = managers.Rewards(cfg.rewards, self)
        self.curriculum_manager = CurriculumManager(cfg.curriculum, self)
        if "startup" in self.event_manager.available_modes:
            self.event_manager.apply(mode="startup")
        at_intervals = private.event_terms(self.event_manager, "interval")
        self._intervals = list(zip(at_intervals, private.interval_times(self.event_manager), strict=True))

    def advance(self) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """The physics of a control step with the processed action, in the order of Isaac Lab's own step.

        Returns the reward [N], ids [k] int32 of the rows that end, and for each event at intervals the ids of rows in
        which it is due.
        """
        self._physics.advance()
        if self.sim.is_rendering:
            self.sim.render()
        self._now.clear()
        self.episode_length_buf += 1
        self.common_step_counter += 1
        due, reward = self._judge()
        env_ids, *pushed = self._rows_of(due)
        return reward, env_ids, pushed

    def go_on(self, pushed: Sequence[torch.Tensor]) -> None:
        """What happens after the resets: commands, and events at intervals in rows `pushed`, see `advance`."""
        self.command_manager.compute(dt=self.step_dt)
        for k, ((term, left), rows) in enumerate(zip(self._intervals, pushed, strict=True)):
            left -= self.step_dt
            if len(rows):
                left.index_copy_(0, self.rows(rows), _times(self, k, of_step=True)[self.rows(rows)])
                term.func(self, rows, **term.params)
                self._now.clear()

    def _rows_of(self, due: torch.Tensor) -> list[torch.Tensor]:
        """Ids of the rows [k] int32 in which each bit of `due` [N] is set. The one time that a step waits."""
        bits = due.cpu().numpy()
        ids = (np.flatnonzero(bits & 1 << bit).astype(np.int32) for bit in range(1 + len(self._intervals)))
        return [torch.from_numpy(rows).to(self.device) for rows in ids]

    def _outcome(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the physics has led to: what is due in each row [N] uint8, and the reward [N].

        Of what is due, bit 0 is that the row ends, the others are events at intervals, which a row that ends has later.
        """
        ended = self.termination_manager.compute()
        reward = self.reward_manager.compute(dt=self.step_dt)
        if self.divergence:
            reward = reward.masked_fill(self.divergence.rows, 0.0)
        for name in self.command_manager.active_terms:
            self.command_manager.get_term(name).note()
        due = ended.to(torch.uint8)
        for bit, (_, left) in enumerate(self._intervals, start=1):
            due += ((left - self.step_dt < SOON) & ~ended).to(torch.uint8) << bit
        return due, reward

    def record(self) -> None:
        """See `TensorEnv.record`."""
        self._judge, self._grade = Recorded(self, self._judge), Recorded(self, self._grade)
        self.recording = True  # as `EachRow` needs to know

    def _set_params(self, difficulty: torch.Tensor) -> None:
        self._params.copy_(self._grades.at(difficulty))  # of all rows, of which those stay that stay

    def _reset_idx(self, env_ids: torch.Tensor | slice) -> None:
        """Isaac Lab's hook for a reset of all rows."""
        self._hooks.begin(self._all[env_ids] if isinstance(env_ids, slice) else env_ids)

    def place(self, env_ids: torch.Tensor) -> None:
        """Put rows `env_ids` [k] int32 where their episodes start."""
        self._grade(self.difficulty)
        self._physics.reset(env_ids)
        for term in private.event_terms(self.event_manager, "reset"):
            self._now.clear()
            term.func(self, env_ids, **term.params)
        rows = self.rows(env_ids)
        for manager in (
            self.action_manager,
            self.reward_manager,
            self.command_manager,
            self.event_manager,
            self.termination_manager,
        ):
            manager.reset(rows)
        if self._intervals:  # Isaac Lab has drawn the times of the first events from the global generator
            for (_, left), first in zip(self._intervals, starts(self, env_ids, _first_times), strict=True):
                left.index_copy_(0, rows, first)
        self.episode_length_buf.index_fill_(0, rows, 0)


def _times(env: GradedEnv, k: int, of_step: bool = False) -> torch.Tensor:
    """Times [N] [s] until the next event of the interval term `k`."""
    low, high = env._intervals[k][0].interval_range_s
    return low + env.draws.uniform(f"interval {k}", of_step=of_step) * (high - low)


def _first_times(env: GradedEnv) -> tuple[torch.Tensor, ...]:
    return tuple(_times(env, k) for k in range(len(env._intervals)))


def _constant(env: GradedEnv, numbers: tuple[Any, ...]) -> torch.Tensor:
    return torch.tensor(numbers, device=env.device)


def _joint_ids(env: GradedEnv, pattern: str) -> torch.Tensor | slice:
    robot = env.scene["robot"]
    ids = robot.find_joints(pattern)[0]
    return slice(None) if ids == list(range(robot.num_joints)) else torch.tensor(ids, device=env.device)


class LabEnv(EpisodeEnv):
    """A task on one of Isaac Lab's engines. One per process.

    Args:
        spec: the task's declaration; timing and spaces come from it.
        cfg: scene, observations (group `policy`, and `critic` where declared), actions, events, rewards, terminations.
        success: the momentary success condition.
        safety: the condition "crossed now" of every safety limit that the task declares.
        num_envs: N.
        device: `cpu` or `cuda:K`.
        engine: a concrete engine, see `tasks.core.engines.check`.
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
        self.runtime: Runtime = engines.get(engine).load()
        cfg.scene.num_envs = num_envs
        cfg.decimation, cfg.episode_length_s, cfg.compute_final_obs = spec.decimation, spec.episode_length_s, True
        cfg.sim.dt, cfg.sim.render_interval, cfg.sim.device = spec.physics_dt, spec.decimation, device
        cfg.sim.physics = self.runtime.physics_cfg(newton)
        cfg.sim.use_newton_actuators = False  # its CUDA graph would compile every registered kernel first
        if spec.view.size:
            cfg.scene.camera = camera.sensor(spec.view)
        set_scenery(cfg.scene, self.runtime, pictured=bool(spec.view.size))
        cfg.seed = 0  # what is drawn while building; episodes are seeded by `reset`
        self.engine, self.rewrite_episodes = engine, engines.rewrite_episodes(engine, device)
        self.after_reset: list[Callable[[], None]] = []  # what effects do last of all at a reset
        self._shared: dict[tuple[Callable[..., Any], int], Any] = {}
        self._action, self._done = torch.zeros(2, num_envs, spec.action_dim, device=self.device).unbind()
        self._pushed: Sequence[torch.Tensor] = ()
        self._stack = ExitStack()
        self._stack.enter_context(launch(cfg, device, self.runtime))
        hooks = Hooks(self.difficulty, self.draws, self._begin, self._hold, self.rows, self.shared)
        self._env = GradedEnv(cfg, spec, self.runtime, hooks, success, safety or {})
        self._changes = self.runtime.changes(num_envs, device)
        self._overflow = self.runtime.overflow(self._env.sim.physics_manager)
        self._stack.callback(self._env.close)
        self._check_declaration()

    def _check_declaration(self) -> None:
        observed, acted = self._env.observation_manager, self._env.action_manager
        groups = {
            group: [(name, shape[0]) for name, shape in zip(names, observed.group_obs_term_dim[group], strict=True)]
            for group, names in observed.active_terms.items()
        }
        self.spec.agree("observations", groups["policy"])
        self.spec.agree("critic_observations", groups.get("critic", []))
        if acted.total_action_dim != self.spec.action_dim:
            built, declared = acted.total_action_dim, self.spec.action_dim
            raise RuntimeError(f"{self.spec.name}: actions are {built} wide as built, and declared are {declared}")
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

    def shared(self, kind: Callable[..., Any], asset: Any) -> Any:
        """The one `kind(env, asset)`, which several effects use."""
        key = kind, id(asset)
        if key not in self._shared:
            self._shared[key] = kind(self, asset)
        return self._shared[key]

    def forces(self, asset: Any, bodies: Sequence[int]) -> torch.Tensor:
        """What acts on all bodies of `asset` in the coming control step [N, bodies, 3] [N], to be added to.

        At their centres of mass, in the world's frame. `bodies` are those that the caller will push.
        """
        return self._env._physics.forces(asset, bodies)

    def force_joints(self, asset: Any) -> None:
        """The joints of `asset` will be given forces: they are handed to the engine before every physics step."""
        self._env._physics.forced.add(asset)

    def _groups(self) -> torch.Tensor:
        groups = self._env.observation_manager.compute()
        return torch.cat((groups["policy"], groups["critic"]), dim=-1) if "critic" in groups else groups["policy"]

    def _reset(self, seed: int | None) -> torch.Tensor:
        self._env.reset(seed=seed)
        return self._look()

    def _act(self, action: torch.Tensor) -> torch.Tensor:
        self._done.copy_(super()._act(action))
        self._env.action_manager.process_action(self._done)
        return self._done

    def _advance(self, action: torch.Tensor) -> tuple[Outcome, torch.Tensor]:
        env = self._env
        reward, env_ids, self._pushed = env.advance()
        self._overflow.note()
        ended = env.termination_manager
        outcome = Outcome(reward, ended.terminated, ended.time_outs, env.success, ended.fired, env.violations)
        return outcome, env_ids

    def _observe_last(self) -> torch.Tensor:
        obs, divergence = self._groups(), self._env.divergence
        return obs.masked_fill(divergence.rows[:, None], 0.0) if divergence else obs

    def _observe(self) -> torch.Tensor:
        return self._groups()

    def _place(self, env_ids: torch.Tensor) -> None:
        self._env.place(env_ids)

    def _placed(self, env_ids: torch.Tensor) -> None:
        for write in self.after_reset:
            write()
        if self._changes and self._effects:
            self._changes.bring(len(env_ids))
        elif self._changes:
            self._changes.gather()
        self._env._now.clear()

    def _go_on(self) -> None:
        self._env.go_on(self._pushed)

    def _step(self, action: torch.Tensor) -> Step:
        self._action.copy_(action)  # the same tensor in every step: else no graph could hold what is done with it
        return super()._step(self._action)

    def _set_age(self, age: torch.Tensor) -> None:
        self._env.episode_length_buf.copy_(age)

    def record(self) -> None:
        """See `TensorEnv.record`."""
        self._env.record()
        for part in ("_act", "_renew", "_last", "_look"):
            setattr(self, part, Recorded(self._env, getattr(self, part)))

    def overflows(self) -> int:
        """See `TensorEnv.overflows`."""
        return self._overflow.steps()

    def diverged(self) -> int:
        """See `TensorEnv.diverged`."""
        return self._env.divergence.count() if self._env.divergence else 0

    def picture(self) -> np.ndarray:
        """What the camera of row 0 sees now: [height, width, 3] uint8. Only of a `TaskSpec.pictured` task."""
        return camera.picture(self._env, self.spec.view)

    def close(self) -> None:
        """See `TensorEnv.close`."""
        self._stack.close()
