"""What `baselines.tianshou` has of Tianshou below its public names, and PPO's update against Tianshou's own."""

import copy
from dataclasses import replace

import pytest
import torch
from omegaconf import OmegaConf
from tianshou.algorithm import PPO

import baselines
import tasks
from baselines import config
from baselines.tianshou import private
from baselines.tianshou.agents import make_agent
from baselines.tianshou.batch import tensor_batch
from tasks.core.fast import Home


def test_each_private_name_exists():
    assert private.HOME.untested() is None
    assert private.HOME.missing() == []


def test_a_missing_private_name_is_said_in_one_line(monkeypatch):
    names = {"tianshou.algorithm.algorithm_base:Algorithm.Optimizer": ("_gone",)}
    monkeypatch.setattr(private, "HOME", Home("Tianshou", private.HOME.versions, names))
    env = tasks.get("toy-reach").build(4, "cpu", "torch")
    with pytest.raises(RuntimeError, match=r"^Tianshou: tianshou 2\.0\.1 has no .*Optimizer\._gone; tested with.*$"):
        baselines.make_agent("ppo", env, config.load("ppo", "toy-reach", "smoke"))


@pytest.mark.parametrize("overrides", [{}, {"value_clip": True, "advantage_normalization": False, "ent_coef": 0.01}])
def test_ppo_learns_as_tianshous_own_update_bit_for_bit(overrides):
    env = tasks.get("toy-reach").build(4, "cpu", "torch")
    cfg = OmegaConf.merge(config.load("ppo", "toy-reach", "smoke"), {"desired_kl": None, **overrides})
    torch.manual_seed(0)
    ours = make_agent("ppo", env, cfg)
    theirs = copy.deepcopy(ours)
    n = 250
    rows = {"obs": torch.randn(n, env.spec.obs_dim), "act": torch.randn(n, env.spec.action_dim)}
    rows |= {name: torch.randn(n) for name in ("adv", "returns", "v_s", "logp_old")}
    reported = []
    for algorithm, update in ((ours, type(ours)._update_with_batch), (theirs, PPO._update_with_batch)):
        torch.manual_seed(1)
        stats = update(algorithm, tensor_batch(**rows), 64, 3)
        reported.append(replace(stats, train_time=0.0))
    assert reported[0] == reported[1]
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)
