"""`TensorEnv`: the contract between a task and an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from tasks.factors import signal_effects
from tasks.spec import TaskSpec

Sampler = Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, torch.Tensor]]
"""Given env ids [k], the difficulty [k] in [0, 1] of the episodes that start in them now, or a pair of it and their
factors [k, F], columns in the order of `TaskSpec.factors`. Without a pair the factors stay what they are: nominal,
unless there was a pair before."""

Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]

BAD_ACTION = "an action has NaN or infinite values"


class TensorEnv(ABC):
    """A batch of envs that step together; everything is a tensor on the env's device, batch first.

    Reset is same-step: the observation of a row that ended is already the first one of its next episode, and
    `extras["final_obs"]` has the true last one.

    What `reset` and `step` return may be overwritten by the next `step`, observations included: clone what is kept.
    Until `set_sampler` (or `TaskSpec.build` with a difficulty) says otherwise, all episodes are of difficulty 0, g1.
    Actions beyond [-1, 1] are clamped before anything else is done with them.

    Attributes:
        spec: the task's declaration.
        num_envs: N, rows of every tensor.
        device: where the tensors live.
        observation_space: `Box` of shape (obs_dim,), unbounded.
        action_space: `Box` [-1, 1] of shape (action_dim,).
        difficulty: [N] float, of the episodes now running.
        factors: [N, F] float, of the episodes now running; columns as in `TaskSpec.factors`.
        former: [N, F] float, of the episodes that the last step belongs to.
        rewrite_episodes: K. A row that starts its K-th episode since its slow factors (`Effect.slow`) were written is
            due. Where a row is due, all rows that reset in the same step get new values; else they keep those of the
            episode before. 1, the default where no engine is slow, gives every episode what the sampler drew. A reset
            of all rows writes all. `factors` is what an episode has, never what was asked for.
        check_at_once: whether NaN actions and bad difficulties raise when they come, which waits for the device, or in
            `check`. On by default on the CPU.
    """

    rewrite_episodes = 1

    def __init__(self, spec: TaskSpec, num_envs: int, device: str | torch.device) -> None:
        """Set the spaces and start at difficulty 0 and nominal factors everywhere."""
        self.spec, self.num_envs, self.device = spec, num_envs, torch.device(device)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (spec.obs_dim,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (spec.action_dim,), np.float32)
        self.difficulty = torch.zeros(num_envs, device=self.device)
        nominal = torch.tensor([factor.nominal for factor in spec.factors], device=self.device)
        self.factors = nominal.repeat(num_envs, 1)
        self.former = self.factors
        self._sampler: Sampler = lambda env_ids: self.difficulty[env_ids]
        self._moving: Collection[str] | None = None
        self._held = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self._fresh = torch.ones(num_envs, dtype=torch.bool, device=self.device)  # at the start of an episode
        self._effects: list[tuple[int, signal_effects.Effect]] | None = None  # built with the first factors
        self._acting: list[signal_effects.Effect] = []  # those of them that change actions
        self._sensing: list[signal_effects.Effect] = []  # and those that change what a policy sees
        self._last_ids: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)  # what `rows` was asked for last
        self._slow = torch.zeros(len(spec.factors), dtype=torch.bool, device=self.device)
        self._begun = torch.zeros(num_envs, dtype=torch.long, device=self.device)  # episodes since the last rewrite
        self._rewrites = True  # in this reset
        self._generator = torch.Generator(self.device)
        self.check_at_once = self.device.type == "cpu"
        self._valid: dict[str, torch.Tensor] = {}  # what `check` has to look at
        self._actions = torch.zeros((), device=self.device)  # and the sum of all since: not finite if one was not

    def set_sampler(self, sampler: Sampler, moving: Collection[str] | None = None) -> None:
        """Let `sampler` assign difficulty and factors of every episode that starts from now on.

        `moving` names the factors that it ever moves, for good and before the first reset with factors; the others
        cost nothing then. Without it all may move.
        """
        self._sampler = sampler
        if moving is not None:
            self._moving = moving

    def factor(self, name: str) -> torch.Tensor:
        """The factor `name` in the episodes now running [N]."""
        return self.factors[:, [factor.name for factor in self.spec.factors].index(name)]

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draws from [-1, 1), from the env's own generator."""
        return torch.empty(*shape, device=self.device).uniform_(-1.0, 1.0, generator=self._generator)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal draws, from the env's own generator."""
        return torch.randn(*shape, generator=self._generator, device=self.device)

    def rows(self, env_ids: torch.Tensor) -> torch.Tensor:
        """`env_ids` [k] as long, which torch takes as they are: converted once for all who ask in turn."""
        if self._last_ids[0] is not env_ids:
            self._last_ids = env_ids, env_ids.long()
        return self._last_ids[1]

    def _assign(self, env_ids: torch.Tensor) -> None:
        """Called by implementations at the reset of `env_ids` [k], before any term reads difficulty or factors."""
        drawn = self._sampler(env_ids)
        difficulty, factors = drawn if isinstance(drawn, tuple) else (drawn, None)
        # NaN equals nothing.
        self._require(difficulty == difficulty.clamp(0.0, 1.0), "the sampler gave a difficulty outside [0, 1]")
        rows = self.rows(env_ids)
        # New tensors: what the step returned of the episodes that end now is not changed.
        self.difficulty = self.difficulty.index_copy(0, rows, difficulty.to(self.difficulty))
        if self.spec.success_hold_steps > 1:
            self._held.index_fill_(0, rows, 0)  # an assignment would copy the number to a GPU, and wait
        if self._sensing:
            self._fresh.index_fill_(0, rows, True)
        if factors is None:
            return
        if self._effects is None:
            self._effects = signal_effects.build(self, self._moving)
            for column, effect in self._effects:
                self._slow[column] = effect.slow
                if type(effect).act is not signal_effects.Effect.act:
                    self._acting.append(effect)
                if type(effect).measure is not signal_effects.Effect.measure:
                    self._sensing.append(effect)
        self._rewrites = self._take_turns(rows)
        if not self._rewrites:
            factors = torch.where(self._slow, self.factors[rows], factors)
        self.factors = self.factors.index_copy(0, rows, factors.to(self.factors))

    def _take_turns(self, rows: torch.Tensor) -> bool:
        """Whether `rows` [k], which reset now, get new values of slow factors. Waits if they do not always."""
        if self.rewrite_episodes == 1:
            return True
        begun = self._begun[rows] + 1
        due = len(rows) == self.num_envs or bool((begun >= self.rewrite_episodes).any())
        self._begun.index_copy_(0, rows, torch.zeros_like(begun) if due else begun)
        return due

    def _start(self, env_ids: torch.Tensor) -> None:
        """Called by implementations at the reset of `env_ids` [k], when their state is that of the new episode."""
        if not self._effects:
            return
        rows = self.rows(env_ids)
        values = self.factors[rows]
        for column, effect in self._effects:
            if not effect.slow:
                effect.start(rows, values[:, column])
            elif self._rewrites:
                effect.start(env_ids, values[:, column])

    def _hold(self, condition: torch.Tensor) -> torch.Tensor:
        """Success now [N]: `condition` has held for the declared time without a break. Call once a step."""
        if self.spec.success_hold_steps == 1:
            return condition
        self._held.add_(1).mul_(condition)  # the same tensor: see `tasks.cuda.record`
        return self._held >= self.spec.success_hold_steps

    def _require(self, valid: torch.Tensor, else_what: str) -> None:
        """Raise `ValueError` if not all of `valid` holds, now or in `check`."""
        if not self.check_at_once:
            valid, before = valid.all(), self._valid.get(else_what)
            self._valid[else_what] = valid if before is None else valid & before
        elif not valid.all():
            raise ValueError(f"{self.spec.name}: {else_what}")

    def check(self) -> None:
        """Raise `ValueError` for actions with NaN or difficulties outside [0, 1] since the last call. Waits."""
        held, self._valid = self._valid, {}
        held[BAD_ACTION] = self._actions.isfinite()
        self._actions.zero_()
        for what, valid in held.items():
            if not valid:
                raise ValueError(f"{self.spec.name}: {what}")

    def record(self) -> None:  # noqa: B027 (nothing to do where there are no such parts)
        """Let parts of a step be CUDA graphs where the env has such parts; call once, on CUDA. See `tasks.cuda.record`.

        What `step` returns is overwritten by the next one then.
        """

    def overflows(self) -> int:
        """Control steps so far in which the engine had no room for all contacts, and dropped some. Waits for it."""
        return 0

    def diverged(self) -> int:
        """Episodes so far that ended because their simulation diverged (`tasks.isaaclab.divergence`). Waits for it."""
        return 0

    def reset(self, seed: int | None = None, staggered: bool = False) -> torch.Tensor:
        """Start a new episode in every row and return obs [N, obs_dim]. One seed, one sequence of episodes.

        `staggered`: the first episodes are truncated at random times, so that the rows are not all in the same part
        of an episode ever after. What such an episode says about success is void.
        """
        if seed is not None:
            self._generator.manual_seed(seed)
        obs = self._reset(seed)
        if staggered:
            length = self.spec.max_episode_steps
            age = torch.randint(length, (self.num_envs,), generator=self._generator, device=self.device)
            self._stagger(age)
        return self._measure(obs)

    def _stagger(self, age: torch.Tensor) -> None:
        """`_set_age`; rows that end together take their turn together, see `rewrite_episodes`."""
        self._set_age(age)
        self._begun = age % self.rewrite_episodes

    def step(self, action: torch.Tensor) -> Step:
        """Advance one control step with action [N, action_dim], clamped to the action space.

        Returns obs [N, obs_dim], reward [N], terminated [N] bool, truncated [N] bool, and extras:
        `final_obs` [N, obs_dim] (valid in rows that ended), `success` [N] bool (after this step, before any
        reset), `difficulty` [N] and `factors` [N, F] (of the episode this step belongs to), `terminations` (name to
        [N] bool: which condition ended the row, `time_out` included) and `violations` (name of a safety limit to
        [N] bool: crossed in this step).

        Raises `ValueError` for an action of another shape or type, or with a NaN (at once or in `check`).
        """
        expected = (self.num_envs, self.spec.action_dim)
        if action.shape != expected or action.dtype != torch.float32:
            found = f"{tuple(action.shape)} {action.dtype}"
            raise ValueError(f"{self.spec.name}: the action is {found}, expected {expected} torch.float32")
        if self.check_at_once:
            self._require(action.isfinite(), BAD_ACTION)
        else:
            self._actions += action.sum()
        action = action.clamp(-1.0, 1.0)
        self.former = self.factors  # a reset replaces that tensor
        for effect in self._acting:
            action = effect.act(action)
        before = {"difficulty": self.difficulty, "factors": self.factors}
        obs, reward, terminated, truncated, extras = self._step(action)
        if self._sensing and extras["final_obs"] is not obs:  # else no row ended
            before["final_obs"] = self._seen(extras["final_obs"], lambda effect, seen: effect.measure_final(seen))
        return self._measure(obs), reward, terminated, truncated, extras | before

    def _measure(self, obs: torch.Tensor) -> torch.Tensor:
        if self._sensing:
            obs = self._seen(obs, lambda effect, seen: effect.measure(seen, self._fresh))
            self._fresh.zero_()
        return obs

    def _seen(
        self, obs: torch.Tensor, through: Callable[[signal_effects.Effect, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """`obs` with what the policy sees of it passed through the sensors' effects; a critic sees the truth."""
        seen = obs[:, : self.spec.policy_dim]
        for effect in self._sensing:
            seen = through(effect, seen)
        return torch.cat((seen, obs[:, self.spec.policy_dim :]), dim=-1)

    @abstractmethod
    def _reset(self, seed: int | None) -> torch.Tensor:
        """See `reset`; observations without the factors' effects."""

    @abstractmethod
    def _set_age(self, age: torch.Tensor) -> None:
        """Count the episodes that have just begun as `age` [N] long steps old; nothing else of them changes."""

    @abstractmethod
    def _step(self, action: torch.Tensor) -> Step:
        """See `step`; observations without the factors' effects, extras without `difficulty` and `factors`."""

    @abstractmethod
    def close(self) -> None:
        """Release the simulator. The env must not be used afterwards."""
