"""`TensorEnv`: the contract between a task and an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from tasks.core.draws import Draws
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
        draws: what episodes draw at random: counter-based, so that a row's episodes are the same whatever others do.
        check_at_once: whether NaN actions and bad difficulties raise when they come, which waits for the device, or in
            `check`. On by default on the CPU.
    """

    def __init__(self, spec: TaskSpec, num_envs: int, device: str | torch.device) -> None:
        """Set the spaces and start at difficulty 0 and nominal factors everywhere."""
        self.spec, self.num_envs, self.device = spec, num_envs, torch.device(device)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (spec.obs_dim,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (spec.action_dim,), np.float32)
        self.difficulty = torch.zeros(num_envs, device=self.device)
        nominal = torch.tensor([factor.nominal for factor in spec.factors], device=self.device)
        self.factors = nominal.repeat(num_envs, 1)
        self.draws = Draws(num_envs, self.device)
        self._every = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._sampler: Sampler = lambda env_ids: self.difficulty[env_ids]
        self._moving: Collection[str] | None = None
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
        """Start a new episode in every row and return obs [N, obs_dim]. One seed, one sequence of episodes in each row.

        `staggered`: the first episodes are truncated at random times, so that the rows are not all in the same part
        of an episode ever after. What such an episode says about success is void.
        """
        if seed is not None:
            self.draws.seed(seed, self.spec.name)
        obs = self._reset(seed)
        if staggered:
            self._stagger((self.draws.uniform("stagger") * self.spec.max_episode_steps).long())
        return obs

    def identify(self, rows: torch.Tensor) -> None:
        """Let row k draw what `rows[k]` [N] long says, from the next `reset` with a seed on; k by default.

        So an episode is the same in envs of any size: who evaluates some cells of a protocol only sees their episodes.
        """
        self.draws.identify(rows)

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
        before = {"difficulty": self.difficulty, "factors": self.factors}
        *outcome, extras = self._step(action.clamp(-1.0, 1.0))
        return (*outcome, before | extras)

    @abstractmethod
    def _reset(self, seed: int | None) -> torch.Tensor:
        """See `reset`; `draws` has the seed."""

    @abstractmethod
    def _stagger(self, age: torch.Tensor) -> None:
        """Count the episodes that have just begun as `age` [N] long steps old; nothing else of them changes."""

    @abstractmethod
    def _step(self, action: torch.Tensor) -> Step:
        """See `step`; the action is a valid one.

        `extras` need not have difficulty and factors where a reset replaces these two tensors.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the simulator. The env must not be used afterwards."""
