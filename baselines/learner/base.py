"""The training loop of one agent: collect, update, checkpoint, resume, export."""

from __future__ import annotations

import copy
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from tianshou.utils.torch_utils import policy_within_training_step

from baselines import config, policy_file
from baselines.algorithms import registry as algorithms
from baselines.data.collector import Collector
from baselines.data.episodes import summary
from baselines.data.normalizer import ObsNormalizer
from baselines.errors import NonFiniteError
from baselines.learner import checkpoint
from baselines.tianshou import agents
from curricula.episodes import Episodes
from curricula.mix import Mix
from curricula.teacher import Teacher
from tasks.core.env import TensorEnv

EVENTS = ("overflows", "diverged")
"""What a training counts of what its env went through, by the names of `TensorEnv`'s methods."""


class Learner(ABC):
    """An agent, its env batch and all that has to survive an interruption.

    Attributes:
        definition: what the suite knows of the algorithm.
        algorithm: the Tianshou `Algorithm`.
        env_steps: env steps taken so far, over all rows.
        steps_per_iteration: env steps that `iterate` takes.
    """

    def __init__(
        self,
        algo: str,
        env: TensorEnv,
        cfg: DictConfig,
        seed: int,
        teacher: Teacher | Mix | None,
        identity: Mapping[str, Any],
    ) -> None:
        """Seed every generator, and build networks and storage. The envs are reset by the first `iterate`."""
        _seed_everything(seed)
        torch.distributions.Distribution.set_default_validate_args(False)  # each check waits for the device
        self.algo, self.env, self.cfg, self.seed, self.teacher = algo, env, cfg, seed, teacher
        self.identity = {**identity, "algo": algo, "task": env.spec.name, "seed": seed, "config": config.digest(cfg)}
        self.definition = algorithms.get(algo)
        self.algorithm = agents.make_agent(algo, env, cfg)
        self._numbers = agents.numbers(self.algorithm)
        self.table = agents.action_table(algo, env)
        self.norm = ObsNormalizer(env.spec.obs_dim).to(env.device) if cfg.obs_norm else None
        env.check_at_once = False  # `iterate` does, and finds what made an action bad first
        self.env_steps = 0
        self._events = dict.fromkeys(EVENTS, 0)
        self.steps_per_iteration = cfg.horizon * cfg.num_envs
        self.collector = self._make_collector()

    @abstractmethod
    def _make_collector(self) -> Collector:
        """Allocate the storage and what fills it."""

    @abstractmethod
    def _run(self) -> tuple[Episodes, dict[str, float]]:
        """Collect `steps_per_iteration` env steps and update; return the episodes that ended, and the losses."""

    @abstractmethod
    def _buffer_state(self) -> dict[str, Any]:
        """What of the storage has to be saved."""

    @abstractmethod
    def _load_buffer_state(self, state: dict[str, Any]) -> None:
        """Undo `_buffer_state`."""

    def iterate(self) -> tuple[dict[str, float], Episodes]:
        """One round of collecting and updating.

        Returns metrics (`return_mean`, `length_mean` [steps] and `success_mean` over the episodes that ended, NaN where
        none did; `episodes`, their number; `EVENTS`, see `TensorEnv`; and losses, once there are updates)
        and those episodes. Raises `NonFiniteError` for a NaN or infinite observation, reward or loss.
        """
        if self.collector.obs is None:
            self._reset_envs()
        with policy_within_training_step(self.algorithm.policy):
            episodes, losses = self._run()
        for name, value in losses.items():
            if not math.isfinite(value):
                raise NonFiniteError(self.env_steps, (), name)
        self.env.check()
        before, self._events = self._events, {event: getattr(self.env, event)() for event in EVENTS}
        events = {event: total - before[event] for event, total in self._events.items()}
        return summary(episodes, self.env.spec.success_when) | events | losses, episodes

    def checkpoint(self, path: str | Path) -> None:
        """Save everything atomically to the file `path`, and start new episodes in all envs.

        The episodes' seed follows from the training's seed and `env_steps`, so that a training that goes on and one
        that is restored from the file continue alike. Raises `NonFiniteError` rather than save a bad parameter.
        """
        self._check_parameters()
        checkpoint.save(path, {**self.identity, "env_steps": self.env_steps}, self._state())
        self._reset_envs()

    def restore(self, path: str | Path) -> None:
        """Continue from `checkpoint`. Raises `CheckpointError`, with the reason, for a file that does not fit."""
        _, state = checkpoint.load(path, self.identity, self.env.device)
        self._load_state(state)
        self._reset_envs()

    def export(self, path: str | Path) -> None:
        """Write the deterministic policy as it is now; see `baselines.policy_file`."""
        self._check_parameters()
        layers, squash = self.algorithm.policy.layers(), self.definition.squashed(self.cfg)
        policy_file.save_policy(path, layers, squash, self.norm, self.table, self.env.spec.obs_dim)

    def _reset_envs(self) -> None:
        seed = np.random.SeedSequence((self.seed, self.env_steps)).generate_state(1)[0]
        # A training's first episodes are short and failures all the same, and nobody has learned anything else yet.
        self.collector.reset(int(seed) & 0x7FFFFFFF, self.cfg.get("staggered", False), settle=self.env_steps > 0)
        self._check_rows({"first observation": self.collector.obs[None]})

    def _state(self) -> dict[str, Any]:
        return {
            "env_steps": self.env_steps,
            "agent": agents.agent_state(self.algo, self.algorithm, self._numbers),
            "norm": None if self.norm is None else self.norm.state_dict(),
            "buffer": self._buffer_state(),
            "teacher": None if self.teacher is None else copy.deepcopy(self.teacher.state_dict()),
            "random": checkpoint.random_state(self.env.device),
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self.env_steps = state["env_steps"]
        agents.load_agent_state(self.algorithm, state["agent"])
        if self.norm is not None:
            self.norm.load_state_dict(state["norm"])
        self._load_buffer_state(state["buffer"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        checkpoint.set_random_state(state["random"], self.env.device)

    def _check_parameters(self) -> None:
        for name, value in self.algorithm.named_parameters():
            if not value.isfinite().all():
                raise NonFiniteError(self.env_steps, (), f"parameter {name}")

    def _check_rows(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Raise `NonFiniteError` for the earliest bad row of tensors [T, N, ...], the last T steps.

        Waits for the device once if all is well.
        """
        bad = {name: ~x.isfinite().flatten(2).all(2) if x.ndim > 2 else ~x.isfinite() for name, x in tensors.items()}
        if not torch.stack([x.any() for x in bad.values()]).any():
            return
        first = {name: int(x.any(1).nonzero()[0]) for name, x in bad.items() if x.any()}
        name = min(first, key=first.__getitem__)
        rows = bad[name]
        steps_back = (len(rows) - 1 - first[name]) * self.env.num_envs
        raise NonFiniteError(self.env_steps - steps_back, rows[first[name]].nonzero().squeeze(1).tolist(), name)


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # Tianshou's REDQ draws from it
    torch.manual_seed(seed)
