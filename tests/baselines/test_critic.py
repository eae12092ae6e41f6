"""Observations that only a critic may see: policies do not depend on them, critics do."""

import dataclasses

import pytest
import torch

import baselines
import tasks
from baselines import config
from baselines.learner.learners import make_learner
from baselines.policy_file import load_policy
from tasks.spec import Term
from tasks.toy.env import ToyReach

TOY = tasks.get("toy-reach")
SPEC = dataclasses.replace(TOY, critic_observations=(Term("secret", 3, "1"),))


class Asymmetric(ToyReach):
    """The toy env with three more observations, which its task does not let a policy see."""

    def _observe(self):
        return torch.cat((super()._observe(), 5.0 * self.draws.normal("secret", 3, of_step=True)), dim=-1)


@pytest.mark.parametrize("algo", baselines.names())
def test_only_critics_see_critic_observations(tmp_path, algo):
    torch.set_num_threads(1)
    cfg = config.load(algo, "toy-reach", "smoke")
    cfg.num_envs, cfg.horizon = 16, 4
    for key, value in {"buffer_size": 4096, "learning_starts": 64, "batch_size": 32, "ensemble_size": 2}.items():
        if key in cfg:
            cfg[key] = value
    env = Asymmetric(SPEC, 16, "cpu")
    env.set_sampler(lambda env_ids: torch.zeros(len(env_ids)))
    agent = make_learner(algo, env, cfg, seed=0, teacher=None)
    for _ in range(3):
        agent.iterate()
    agent.export(tmp_path / "policy.safetensors")
    act = load_policy(tmp_path / "policy.safetensors", "cpu")
    obs = env.reset(1)
    other = torch.cat((obs[:, : SPEC.policy_dim], 100.0 * torch.ones(16, 3)), dim=-1)
    assert torch.equal(act(obs), act(other))
    read = agent.buffer.read
    with torch.no_grad():
        if algo in ("ppo", "a2c", "npg", "trpo"):
            critic = agent.algorithm.critic
            assert not torch.allclose(critic(read(obs)), critic(read(other)))
        elif algo != "dqn":  # its Q function is its policy
            action = act(obs)
            critic = agent.algorithm.critic
            assert not torch.allclose(critic(read(obs), action), critic(read(other), action))
