"""Stock Tianshou beside ours: the same networks, the same transitions, the same batched env."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest import mock

import gymnasium as gym
import numpy as np
import torch
from tianshou import algorithm as stock
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.data import Batch, VectorReplayBuffer
from tianshou.env import BaseVectorEnv

from baselines.algorithms import registry as algorithms
from baselines.tianshou import off_policy, on_policy, policies
from tasks.core.env import TensorEnv


def make_stock_agent(name: str, env: TensorEnv, cfg):
    """What `baselines.make_agent` builds, with Tianshou's own classes; the same seed gives the same weights."""

    def ppo(desired_kl, learning_rate_min, learning_rate_max, **kwargs):
        assert desired_kl is None, "stock has no adaptive learning rate"
        return stock.PPO(**kwargs)

    ours = f"Tensor{name.upper()}"
    classes = {ours: ppo if name == "ppo" else getattr(stock, name.upper()), "TensorQPolicy": DiscreteQLearningPolicy}
    with ExitStack() as patched:
        for attribute, value in classes.items():
            home = next(module for module in (on_policy, off_policy, policies) if hasattr(module, attribute))
            patched.enter_context(mock.patch.object(home, attribute, value))
        return algorithms.get(name).build(env, cfg).to(env.device)


class _DoubleTorch:
    """The module torch, but for its float32."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextmanager
def double_precision():
    """New tensors are float64, and Tianshou's networks do not cast their inputs to float32."""
    modules = "tianshou.utils.net.common.torch", "tianshou.utils.net.continuous.torch"
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch(modules[0], _DoubleTorch()), mock.patch(modules[1], _DoubleTorch()):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def transitions(steps: int, num_envs: int, obs_dim: int, act_dim: int, choices: int = 0) -> list[SimpleNamespace]:
    """Random vector steps with terminations, truncations and fresh observations after them."""
    draw = torch.Generator().manual_seed(5)
    obs = torch.randn(num_envs, obs_dim, generator=draw)
    rows = []
    for _ in range(steps):
        end = torch.rand(num_envs, generator=draw)
        final_obs = torch.randn(num_envs, obs_dim, generator=draw)
        next_obs = torch.where((end < 0.2)[:, None], torch.randn(num_envs, obs_dim, generator=draw), final_obs)
        act = torch.randn(num_envs, act_dim, generator=draw)
        if choices:
            act = torch.randint(choices, (num_envs,), generator=draw)
        rows.append(
            SimpleNamespace(
                obs=obs,
                act=act,
                reward=torch.randn(num_envs, generator=draw),
                terminated=end < 0.1,
                truncated=(end >= 0.1) & (end < 0.2),
                final_obs=final_obs,
                next_obs=next_obs,
            )
        )
        obs = next_obs
    return rows


def fill(buffer, rows: list[SimpleNamespace]) -> None:
    """Put `transitions` into one of our buffers."""
    for row in rows:
        buffer.begin_step(row.obs, row.act)
        buffer.end_step(row.reward, row.terminated, row.truncated, row.final_obs, row.next_obs)


def stock_buffer(rows: list[SimpleNamespace], capacity: int) -> VectorReplayBuffer:
    """Stock's buffer of `capacity` steps per env with `transitions` in it."""
    num_envs = len(rows[0].reward)
    buffer = VectorReplayBuffer(capacity * num_envs, num_envs)
    for row in rows:
        done = row.terminated | row.truncated
        names = {"obs": row.obs, "act": row.act, "rew": row.reward}
        names |= {"terminated": row.terminated, "truncated": row.truncated}
        names["obs_next"] = torch.where(done[:, None], row.final_obs, row.next_obs)
        buffer.add(Batch({name: value.numpy().copy() for name, value in names.items()}, info={}))
    return buffer


class StockVecEnv(BaseVectorEnv):
    """A `TensorEnv` behind Tianshou's vector env interface: no workers, NumPy at the border."""

    def __init__(self, env: TensorEnv, table: torch.Tensor | None = None, reward_scale: float = 1.0):  # no super()
        self.env, self.table, self.reward_scale = env, table, reward_scale
        self.env_num, self.is_async, self.is_closed, self.workers = env.num_envs, False, False, []
        self._space = env.action_space if table is None else gym.spaces.Discrete(len(table))
        self._infos = np.array([{} for _ in range(self.env_num)], dtype=object)
        self._seed = None

    def get_env_attr(self, key, id=None):
        spaces = {"action_space": self._space, "observation_space": self.env.observation_space}
        return [spaces.get(key)] * self.env_num

    def reset(self, env_id=None, **kwargs):
        if env_id is None:
            self._obs = self.env.reset(self._seed)
            env_id = np.arange(self.env_num)
        return self._obs[torch.as_tensor(env_id)].cpu().numpy(), self._infos[env_id]  # the env has reset itself

    def step(self, action, id=None):
        act = torch.as_tensor(action, device=self.env.device)
        act = act.float().clamp(-1, 1) if self.table is None else self.table[act]
        self._obs, reward, terminated, truncated, extras = self.env.step(act)
        done = terminated | truncated
        obs = torch.where(done[:, None], extras["final_obs"], self._obs)
        reward = reward * self.reward_scale
        return *(x.cpu().numpy().copy() for x in (obs, reward, terminated, truncated)), self._infos

    def seed(self, seed=None):
        self._seed = seed
        return [seed]

    def close(self):
        pass
