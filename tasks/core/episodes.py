"""`EpisodeEnv`: an env whose rows play one episode after the other, with factors and their effects."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch

from tasks.core.env import Step, TensorEnv
from tasks.factors import signal_effects
from tasks.spec import TaskSpec


class Outcome(NamedTuple):
    """What the physics of a control step has led to, before any reset."""

    reward: torch.Tensor  # [N]
    terminated: torch.Tensor  # [N] bool
    truncated: torch.Tensor  # [N] bool
    success: torch.Tensor  # [N] bool
    terminations: dict[str, torch.Tensor]  # condition to [N] bool
    violations: dict[str, torch.Tensor]  # safety limit to [N] bool


class EpisodeEnv(TensorEnv):
    """The order of a control step, and what an episode begins with; engines fill in the abstract methods.

    Each of the parts `_act`, `_renew`, `_last` and `_look` does the same to the same tensors in every step, so an
    engine may record it.

    Attributes:
        begins: rows in which an episode begins in this step [N] bool.
        former: [N, F] float, factors of the episodes that the last step belongs to.
        rewrite_episodes: K. A row that starts its K-th episode since its slow factors (`Effect.slow`) were written is
            due. Where a row is due, all rows that reset in the same step get new values; else they keep those of the
            episode before. 1, the default where no engine is slow, gives every episode what the sampler drew. A reset
            of all rows writes all. `factors` is what an episode has, never what was asked for.
    """

    rewrite_episodes = 1

    def __init__(self, spec: TaskSpec, num_envs: int, device: str | torch.device) -> None:
        """Start at difficulty 0 and nominal factors everywhere."""
        super().__init__(spec, num_envs, device)
        self.begins = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self.former, self._difficulty_before = self.factors.clone(), self.difficulty.clone()
        self._held = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self._effects: list[tuple[int, signal_effects.Effect]] | None = None  # built with the first factors
        self._acting: list[signal_effects.Effect] = []  # those of them that change actions
        self._sensing: list[signal_effects.Effect] = []  # that change what a policy sees
        self._beginning: list[signal_effects.Effect] = []  # that prepare an episode, all rows at once
        self._starting: list[tuple[int, signal_effects.Effect]] = []  # and the rows that begin alone
        self._last_ids: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)  # what `rows` was asked for last
        self._slow = torch.zeros(len(spec.factors), dtype=torch.bool, device=self.device)
        self._begun = torch.zeros(num_envs, dtype=torch.long, device=self.device)  # episodes since the last rewrite
        self._rewrites = True  # in this reset

    def rows(self, env_ids: torch.Tensor) -> torch.Tensor:
        """`env_ids` [k] as long, which torch takes as they are: converted once for all who ask in turn."""
        if self._last_ids[0] is not env_ids:
            self._last_ids = env_ids, env_ids.long()
        return self._last_ids[1]

    def _step(self, action: torch.Tensor) -> Step:
        outcome, env_ids = self._advance(self._act(action))
        final = None
        if len(env_ids):
            final = self._last()
            self._begin(env_ids)
        self._go_on()
        obs = self._look()
        return (
            obs,
            outcome.reward,
            outcome.terminated,
            outcome.truncated,
            {
                "final_obs": obs if final is None else final,
                "success": outcome.success,
                "difficulty": self._difficulty_before,
                "factors": self.former,
                "terminations": outcome.terminations,
                "violations": outcome.violations,
            },
        )

    def _act(self, action: torch.Tensor) -> torch.Tensor:
        """What the robot does of `action` [N, action_dim] by its factors. A control step begins here."""
        self.draws.advance()
        self._difficulty_before.copy_(self.difficulty)
        self.former.copy_(self.factors)
        for effect in self._acting:
            action = effect.act(action)
        return action

    def _last(self) -> torch.Tensor:
        """What the policy sees of the episodes that end now [N, obs_dim]."""
        return self._seen(self._observe_last(), final=True)

    def _look(self) -> torch.Tensor:
        """What the policy sees now [N, obs_dim]."""
        obs = self._seen(self._observe(), final=False)
        self.begins.zero_()
        return obs

    def _seen(self, obs: torch.Tensor, final: bool) -> torch.Tensor:
        """`obs` with what the policy sees of it passed through the sensors' effects; a critic sees the truth."""
        if not self._sensing:
            return obs
        seen = obs[:, : self.spec.policy_dim]
        for effect in self._sensing:
            seen = effect.measure_final(seen) if final else effect.measure(seen, self.begins)
        return torch.cat((seen, obs[:, self.spec.policy_dim :]), dim=-1)

    def _begin(self, env_ids: torch.Tensor) -> None:
        """Begin an episode in rows `env_ids` [k]."""
        self._assign(env_ids)
        self._renew()
        self._place(env_ids)
        if self._starting:
            rows = self.rows(env_ids)
            values = self.factors.index_select(0, rows)
            for column, effect in self._starting:
                if not effect.slow:
                    effect.start(rows, values[:, column])
                elif self._rewrites:
                    effect.start(env_ids, values[:, column])
        self._placed(env_ids)

    def _assign(self, env_ids: torch.Tensor) -> None:
        """Ask the sampler for the difficulty and the factors of the episodes that begin in `env_ids` [k]."""
        drawn = self._sampler(env_ids)
        difficulty, factors = drawn if isinstance(drawn, tuple) else (drawn, None)
        # NaN equals nothing.
        self._require(difficulty == difficulty.clamp(0.0, 1.0), "the sampler gave a difficulty outside [0, 1]")
        rows = self.rows(env_ids)
        self.begins.index_fill_(0, rows, True)
        self.difficulty.index_copy_(0, rows, difficulty.to(self.difficulty))
        if factors is None:
            return
        if self._effects is None:
            self._build_effects()
        self._rewrites = self._take_turns(rows)
        if not self._rewrites:
            factors = torch.where(self._slow, self.factors[rows], factors)
        self.factors.index_copy_(0, rows, factors.to(self.factors))

    def _build_effects(self) -> None:
        self._effects = signal_effects.build(self, self._moving)
        for column, effect in self._effects:
            self._slow[column] = effect.slow
            for hook, effects in (("act", self._acting), ("measure", self._sensing), ("begin", self._beginning)):
                if getattr(type(effect), hook) is not getattr(signal_effects.Effect, hook):
                    effects.append(effect)
            if type(effect).start is not signal_effects.Effect.start:
                self._starting.append((column, effect))

    def _take_turns(self, rows: torch.Tensor) -> bool:
        """Whether `rows` [k], which reset now, get new values of slow factors. Waits if they do not always."""
        if self.rewrite_episodes == 1:
            return True
        begun = self._begun[rows] + 1
        due = len(rows) == self.num_envs or bool((begun >= self.rewrite_episodes).any())
        self._begun.index_copy_(0, rows, torch.zeros_like(begun) if due else begun)
        return due

    def _renew(self) -> None:
        """What changes with an episode besides the state of the physics, in the rows of `begins`."""
        self.draws.begin(self.begins)
        self._held.mul_(~self.begins)
        for effect in self._beginning:
            effect.begin(self.begins)

    def _hold(self, condition: torch.Tensor) -> torch.Tensor:
        """Success now [N]: `condition` has held for the declared time without a break. Call once a step."""
        if self.spec.success_hold_steps == 1:
            return condition
        self._held.add_(1).mul_(condition)  # the same tensor: see `tasks.cuda.record`
        return self._held >= self.spec.success_hold_steps

    def _stagger(self, age: torch.Tensor) -> None:
        """See `TensorEnv`; rows that end together take their turn together, see `rewrite_episodes`."""
        self._set_age(age)
        self._begun = age % self.rewrite_episodes

    @abstractmethod
    def _advance(self, action: torch.Tensor) -> tuple[Outcome, torch.Tensor]:
        """The physics of a control step: its outcome, and the ids [k] of rows that ended."""

    def _go_on(self) -> None:
        """What happens after the resets, in all rows."""

    @abstractmethod
    def _observe(self) -> torch.Tensor:
        """The observation in this state [N, obs_dim], as no sensor would spoil it."""

    def _observe_last(self) -> torch.Tensor:
        """As `_observe`, of the last state of episodes."""
        return self._observe()

    @abstractmethod
    def _place(self, env_ids: torch.Tensor) -> None:
        """Put rows `env_ids` [k] where their episodes start; difficulty, factors and `draws` are the new ones'."""

    def _placed(self, env_ids: torch.Tensor) -> None:
        """The effects of the factors are in place, too."""

    @abstractmethod
    def _set_age(self, age: torch.Tensor) -> None:
        """Count the episodes that have just begun as `age` [N] long steps old; nothing else of them changes."""
