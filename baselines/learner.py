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

from baselines import agents, checkpoint, config, policy
from baselines.batch import tensor_batch
from baselines.collector import Collector
from baselines.episodes import summary
from baselines.errors import NonFiniteError
from baselines.normalizer import ObsNormalizer
from baselines.rollout import RolloutBuffer
from curricula.teacher import Episodes, Teacher
from tasks.env import TensorEnv


def make_learner(
    algo: str,
    env: TensorEnv,
    cfg: DictConfig,
    seed: int,
    teacher: Teacher | None,
    identity: Mapping[str, Any] | None = None,
) -> Learner:
    """Build the learner `algo` on `env`, from nothing but `cfg` and `seed`.

    `teacher` is only saved and restored with the rest. `identity` (values that JSON can hold, such as
    the suite version) is written to checkpoints; one in which any of it differs is refused.
    Raises `ValueError` for a config that cannot be used.
    """
    config.check(cfg)
    if cfg.num_envs != env.num_envs:
        raise ValueError(f"the env has {env.num_envs} rows, the config asks for num_envs={cfg.num_envs}")
    return OnPolicyLearner(algo, env, cfg, seed, teacher, identity or {})


class Learner(ABC):
    """An agent, its env batch and all that has to survive an interruption.

    Attributes:
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
        teacher: Teacher | None,
        identity: Mapping[str, Any],
    ) -> None:
        """Seed every generator, and build networks and storage. The envs are reset by the first `iterate`."""
        _seed_everything(seed)
        torch.distributions.Distribution.set_default_validate_args(False)  # each check waits for the device
        self.algo, self.env, self.cfg, self.seed, self.teacher = algo, env, cfg, seed, teacher
        self.identity = {**identity, "algo": algo, "task": env.spec.name, "seed": seed, "config": config.digest(cfg)}
        self.algorithm = agents.make_agent(algo, env, cfg)
        self.norm = ObsNormalizer(env.spec.obs_dim).to(env.device) if cfg.obs_norm else None
        self.env_steps = 0
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
        none did; `episodes`, their number; and losses, once there are updates) and those episodes.
        Raises `NonFiniteError` for a NaN or infinite observation, reward or loss.
        """
        if self.collector.obs is None:
            self._reset_envs()
        with policy_within_training_step(self.algorithm.policy):
            episodes, losses = self._run()
        for name, value in losses.items():
            if not math.isfinite(value):
                raise NonFiniteError(self.env_steps, (), name)
        return summary(episodes, self.env.spec.success_when) | losses, episodes

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
        """Write the deterministic policy as it is now; see `baselines.policy`."""
        self._check_parameters()
        layers, squash, table = agents.actor_layers(self.algorithm, self.env)
        policy.save_policy(path, layers, squash, self.norm, table)

    def _reset_envs(self) -> None:
        seed = np.random.SeedSequence((self.seed, self.env_steps)).generate_state(1)[0]
        self.collector.reset(int(seed) & 0x7FFFFFFF)

    def _state(self) -> dict[str, Any]:
        return {
            "env_steps": self.env_steps,
            "agent": agents.agent_state(self.algorithm),
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


class OnPolicyLearner(Learner):
    """Collects a rollout, updates on the whole of it, and throws it away.

    The first rollout with `obs_norm` only measures the observations: there are no statistics to act on yet.
    """

    def _make_collector(self) -> Collector:
        spec, cfg = self.env.spec, self.cfg
        self.buffer = RolloutBuffer(
            cfg.horizon, cfg.num_envs, spec.obs_dim, spec.action_dim, self.env.device, self.norm
        )
        self._minibatch = math.ceil(self.steps_per_iteration / cfg.minibatches)
        return Collector(self.env, self.buffer, cfg.horizon, cfg.reward_scale, table=None, store_bounded=False)

    def _run(self) -> tuple[Episodes, dict[str, float]]:
        for _ in range(self.cfg.horizon):
            self.collector.step(self._act)
        self.env_steps += self.steps_per_iteration
        self._check_rows({"observation": self.buffer.obs[1:], "reward": self.buffer.reward})
        measuring = self.norm is not None and self.env_steps == self.steps_per_iteration
        losses = {} if measuring else self._update()
        if self.norm is not None:  # only here, so that a rollout and its update see the same statistics
            self.norm.update(self.buffer.obs[:-1])
        return self.collector.take(self.env_steps), losses

    def _act(self, obs: torch.Tensor) -> torch.Tensor:
        return self.algorithm.policy(tensor_batch(obs=self.buffer.read(obs))).act

    def _update(self) -> dict[str, float]:
        stats = self.algorithm.update(self.buffer, batch_size=self._minibatch, repeat=self.cfg.epochs)
        losses = agents.losses(stats)
        if self.cfg.get("desired_kl") is not None:
            losses["learning_rate"] = self.algorithm.learning_rate
        return losses

    def _buffer_state(self) -> dict[str, Any]:
        return {}  # empty between two iterations

    def _load_buffer_state(self, state: dict[str, Any]) -> None:
        pass


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # Tianshou's REDQ draws from it
    torch.manual_seed(seed)
