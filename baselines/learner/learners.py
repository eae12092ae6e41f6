"""The two kinds of learner: with a rollout that is used once, and with a replay buffer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from omegaconf import DictConfig

from baselines.algorithms import registry as algorithms
from baselines.data.collector import Act, Collector
from baselines.data.episodes import AdvantageLog
from baselines.data.replay_buffer import ReplayBuffer
from baselines.data.rollout_buffer import RolloutBuffer
from baselines.learner import exploration
from baselines.learner.base import Learner
from baselines.tianshou import agents
from baselines.tianshou.graphs import Repeated
from curricula.episodes import Episodes
from curricula.mix import Mix
from curricula.teacher import Teacher
from tasks.core.env import TensorEnv
from tasks.core.settings import as_dict


def make_learner(
    algo: str,
    env: TensorEnv,
    cfg: DictConfig,
    seed: int,
    teacher: Teacher | Mix | None,
    identity: Mapping[str, Any] | None = None,
) -> Learner:
    """Build the learner `algo` on `env`, from nothing but `cfg` and `seed`.

    `teacher` is only saved and restored with the rest; one that needs advantages gets them with the episodes.
    `identity` (values that JSON can hold, such as
    the suite version) is written to checkpoints; one in which any of it differs is refused.
    Raises `ValueError` for a config that cannot be used.
    """
    definition = algorithms.get(algo)
    definition.check(as_dict(cfg))
    if cfg.num_envs != env.num_envs:
        raise ValueError(f"the env has {env.num_envs} rows, the config asks for num_envs={cfg.num_envs}")
    kind = OnPolicyLearner if definition.on_policy else OffPolicyLearner
    if kind is OffPolicyLearner and teacher is not None and teacher.needs_advantage:
        raise ValueError(f"the teacher learns from advantages, which {algo} does not compute; use an on-policy learner")
    return kind(algo, env, cfg, seed, teacher, identity or {})


class OnPolicyLearner(Learner):
    """Collects a rollout, updates on the whole of it, and throws it away.

    The statistics of observations take the rollout in before its update, so that they are never a rollout behind:
    in the first rollouts the envs have not been everywhere yet. The probabilities that the update starts from are
    those of the moved policy. It differs from the one that acted, but least at the start, where the statistics move
    most: actions hardly depend on the observation then.
    """

    def _make_collector(self) -> Collector:
        spec, cfg = self.env.spec, self.cfg
        wanted = self.teacher is not None and self.teacher.needs_advantage
        self._advantages = AdvantageLog(cfg.num_envs, self.env.device) if wanted else None
        self.buffer = RolloutBuffer(
            cfg.horizon, cfg.num_envs, spec.obs_dim, spec.action_dim, self.env.device, self.norm
        )
        self._minibatch = math.ceil(self.steps_per_iteration / cfg.minibatches)
        self._act = Repeated(lambda obs: self.algorithm.policy.act(self.buffer.read(obs)))
        return Collector(self.env, self.buffer, cfg.horizon, cfg.reward_scale, table=None, store_bounded=False)

    def _run(self) -> tuple[Episodes, dict[str, float]]:
        for _ in range(self.cfg.horizon):
            self.collector.step(self._act)
        self.env_steps += self.steps_per_iteration
        self._check_rows(self.buffer.seen())
        episodes, losses = self.collector.take(self.env_steps), self._learn()
        if self._advantages is not None:
            done = self.buffer.terminated | self.buffer.truncated
            total = self._advantages.take(self.algorithm.advantage, done, self.collector.episodes.ended)
            episodes = replace(episodes, advantage=total / episodes.lengths)
        return episodes, losses

    def _reset_envs(self) -> None:
        if self._advantages is not None:
            self._advantages.reset()
        super()._reset_envs()

    def _learn(self) -> dict[str, float]:
        if self.norm is not None:
            self.norm.update(self.buffer.obs[:-1])
        stats = self.algorithm.update(self.buffer, batch_size=self._minibatch, repeat=self.cfg.epochs)
        losses = agents.losses(stats)
        if self.cfg.get("desired_kl") is not None:
            losses["learning_rate"] = self.algorithm.learning_rate
        return losses

    def _buffer_state(self) -> dict[str, Any]:
        return {}  # empty between two iterations

    def _load_buffer_state(self, state: dict[str, Any]) -> None:
        pass


class OffPolicyLearner(Learner):
    """After each vector step, `updates_per_step` gradient updates on minibatches of a replay buffer."""

    def _make_collector(self) -> Collector:
        env, cfg, table = self.env, self.cfg, self.table
        spec, device = env.spec, env.device
        act = torch.zeros(spec.action_dim) if table is None else torch.zeros((), dtype=torch.long)
        self.buffer = ReplayBuffer(cfg.buffer_size, cfg.num_envs, spec.obs_dim, act, device, self.norm)
        self._random = exploration.uniform(cfg.num_envs, spec.action_dim, table, device)
        self._explore = self._explorer()
        return Collector(env, self.buffer, cfg.horizon, cfg.reward_scale, table, store_bounded=table is None)

    def _explorer(self) -> Act:
        cfg, device = self.cfg, self.env.device
        if self.definition.exploration == "gaussian":
            return exploration.gaussian(self._act, cfg.num_envs, cfg.noise_min, cfg.noise_max, device)
        if self.definition.exploration == "epsilon_greedy":
            return exploration.epsilon_greedy(
                self._act, cfg.num_envs, len(self.table), cfg.epsilon_min, cfg.epsilon_max, device
            )
        return self._act  # a stochastic policy

    def _run(self) -> tuple[Episodes, dict[str, float]]:
        sums: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.cfg.horizon):
            learning = self.env_steps >= self.cfg.learning_starts
            self.collector.step(self._explore if learning else self._random)
            self.env_steps += self.cfg.num_envs
            if learning:
                self._update(sums)
        recent = self.buffer.recent(self.cfg.horizon)
        self._check_rows(recent)
        if self.norm is not None:  # only here, so that these steps and their updates see the same statistics
            self.norm.update(recent["observation"])
        losses = {name: sum(values) / len(values) for name, values in sums.items()}
        return self.collector.take(self.env_steps), losses

    def _act(self, obs: torch.Tensor) -> torch.Tensor:
        return self.algorithm.policy.act(self.buffer.read(obs))

    def _update(self, sums: dict[str, list[float]]) -> None:
        for _ in range(self.cfg.updates_per_step):
            stats = self.algorithm.update(self.buffer, self.cfg.batch_size)
            for name, value in agents.losses(stats).items():
                sums[name].append(value)

    def _buffer_state(self) -> dict[str, Any]:
        return self.buffer.state_dict()

    def _load_buffer_state(self, state: dict[str, Any]) -> None:
        self.buffer.load_state_dict(state)

    def _reset_envs(self) -> None:
        self.buffer.cut()
        super()._reset_envs()
