"""The interface of a teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from curricula.episodes import Episodes
from curricula.space import Space

BINS = 10
"""Equal bins of difficulty in which what a teacher hands out is counted."""

_STREAM = 1


class Teacher(ABC):
    """Assigns difficulty and factors to every episode that starts, and learns from those that finished.

    A subclass says where in the unit cube of `space` episodes start (`propose`), what it learns (`learn`), and which
    of its attributes make up its state (`kept`). `propose` is called within env steps: it must not wait for the
    device, so it indexes with no mask, and reads no tensor's value. `learn` is called once an iteration.

    Between two calls of `learn` all episodes come from one distribution. So as many as there are envs are drawn ahead
    at once, and steps take theirs from these in turn: a few operations an iteration instead of dozens a step.
    """

    kept: tuple[str, ...] = ()
    """Attributes, tensors or numbers, that `propose` and `learn` depend on and that change."""

    needs_advantage = False
    """Whether it learns from `Episodes.advantage`, which only some algorithms know."""

    by_env = False
    """Whether each env has a distribution of its own. Then one that starts twice in an iteration starts alike both
    times."""

    def __init__(self, space: Space, cfg: DictConfig, num_envs: int, seed: int) -> None:
        """`cfg` is of `curricula.config`; all draws come from a generator of its own, by the training's `seed`."""
        self.space, self.cfg, self.num_envs = space, cfg, num_envs
        # Not the seed itself: the stream would be that of torch's global generator.
        own = int(np.random.SeedSequence((seed, _STREAM)).generate_state(1)[0])
        self.generator = torch.Generator(space.device).manual_seed(own)
        self._started = torch.zeros(BINS, dtype=torch.long, device=space.device)
        self._ahead: tuple[torch.Tensor, ...] = (torch.zeros(0, device=space.device),)  # difficulty, and any factors
        self._taken = 0  # rows of it that were handed out
        self._handed: list[tuple[torch.Tensor, torch.Tensor]] = []  # difficulties that `_started` lacks, and who plays
        self.playing = num_envs  # envs behind these idle: what they are given is no episode

    @abstractmethod
    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Points [k, D] of the episodes that start now in `env_ids` [k]."""

    def learn(self, points: torch.Tensor, success: torch.Tensor, env_ids: torch.Tensor) -> None:  # noqa: B027
        """Take in episodes at `points` [k, D] with `success` [k], see `outcome`, in `env_ids` [k], k above 0."""

    def outcome(self, episodes: Episodes) -> torch.Tensor:
        """What `learn` gets of each episode [k]: 1.0 if it succeeded, else 0.0."""
        return episodes.success(self.space.success_when).to(torch.float32)

    def report(self) -> dict[str, float]:
        """Numbers that describe the state, for curriculum.parquet."""
        return {}

    def sample(self, env_ids: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """The sampler that `TensorEnv.set_sampler` takes, for `env_ids` [k], k at most the number of envs."""
        most = len(self._ahead[0])
        if not most or (not self.by_env and self._taken + len(env_ids) > most):
            everywhere = torch.arange(self.num_envs, device=self.space.device)
            assigned = self.space.assign(self.propose(everywhere), self.generator)
            self._ahead, self._taken = assigned if isinstance(assigned, tuple) else (assigned,), 0
        if self.by_env:
            given = tuple(values.index_select(0, env_ids) for values in self._ahead)
        else:
            given = tuple(values[self._taken : self._taken + len(env_ids)] for values in self._ahead)
            self._taken += len(env_ids)
        self._handed.append((given[0], env_ids < self.playing))
        return (given[0], given[1]) if self.space.hands_out_factors else given[0]

    def update(self, episodes: Episodes) -> None:
        """Take in the episodes that finished since the last call; what was drawn ahead is forgotten."""
        self._count()
        self._ahead, self._taken = tuple(values[:0] for values in self._ahead), 0
        if len(episodes.difficulty):
            self.learn(self.space.points(episodes), self.outcome(episodes), episodes.env_ids.long())

    def _count(self) -> None:
        if self._handed:
            difficulty, plays = (torch.cat(column) for column in zip(*self._handed, strict=True))
            bins = (difficulty * BINS).long().clamp_(0, BINS - 1)
            self._started.index_add_(0, bins, plays.long())
            self._handed = []

    def take_started(self) -> list[int]:
        """How many episodes have started in each bin of difficulty since the last call."""
        self._count()
        started = self._started.tolist()
        self._started.zero_()
        return started

    def rand(self, *shape: int) -> torch.Tensor:
        """Uniform draws from [0, 1)."""
        return torch.rand(*shape, generator=self.generator, device=self.space.device)

    def randn(self, *shape: int) -> torch.Tensor:
        """Standard normal draws."""
        return torch.randn(*shape, generator=self.generator, device=self.space.device)

    def state_dict(self) -> dict[str, Any]:
        """All that `sample` and `update` depend on."""
        values = {name: getattr(self, name) for name in self.kept}
        kept = {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in values.items()}
        ahead = [values[self._taken :].clone() for values in self._ahead]
        return {"teacher": self.cfg.name, "generator": self.generator.get_state(), "kept": kept, "ahead": ahead}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`. Raises `ValueError` for the state of another teacher."""
        if state["teacher"] != self.cfg.name:
            raise ValueError(f"the state is that of teacher {state['teacher']!r}, this one is {self.cfg.name!r}")
        self.generator.set_state(state["generator"].cpu())
        for name, value in state["kept"].items():
            setattr(self, name, value.clone() if isinstance(value, torch.Tensor) else value)
        self._ahead, self._taken = tuple(values.clone() for values in state["ahead"]), 0


def draw(cdf: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Indices [k] by the cumulative weights `cdf` [n], for uniform draws [k]. Unlike `multinomial` it never waits."""
    return torch.searchsorted(cdf, uniform * cdf[-1], right=True).clamp_(max=len(cdf) - 1)
