"""Two tasks on real physics, each in a process of its own, as one env."""

import dataclasses

import pytest
import torch

import tasks
from tasks.multitask import declare as multitask

pytestmark = pytest.mark.sim


def test_two_scenes_step_as_one_env():
    torch.set_num_threads(1)
    balance = tasks.get("cartpole-balance")  # the one that starts fastest
    spec = multitask.declare([balance, dataclasses.replace(balance, name="cartpole-other")])
    env = spec.build(6, "cpu", "ovphysx")
    try:
        env.set_samplers([lambda env_ids: env_ids / 4.0, lambda env_ids: env_ids / 2.0])
        first = env.reset(0)
        assert env.difficulty.tolist() == [0.0, 0.25, 0.5, 0.0, 0.5, 1.0]
        assert env.factors[:, :2].tolist() == [[k, row] for k in range(2) for row in range(3)]
        generator = torch.Generator().manual_seed(0)
        for _ in range(4):
            action = torch.rand(6, spec.action_dim, generator=generator) * 2 - 1
            obs, reward, *_ = env.step(action)
        env.check()
        assert obs.isfinite().all()
        assert reward.isfinite().all()
        assert obs[:, -2:].tolist() == [[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3
        assert (obs - first)[:, : balance.obs_dim].abs().amax(dim=1).gt(1e-3).all()
        assert env.reset(0).equal(first)
    finally:
        env.close()
