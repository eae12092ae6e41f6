"""On the same transitions our returns and updates give stock Tianshou's numbers, in float64."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tianshou.utils.torch_utils import policy_within_training_step

import baselines
import tasks
from baselines import config
from baselines.data.replay_buffer import ReplayBuffer
from baselines.data.rollout_buffer import RolloutBuffer
from baselines.tianshou.agents import make_agent
from tests.helpers.stock import double_precision, fill, make_stock_agent, stock_buffer, transitions

TOLERANCE = 1e-5
N, T = 6, 40
ON_POLICY = ("ppo", "a2c", "trpo", "npg")
OFF_POLICY = ("sac", "td3", "ddpg", "redq", "dqn")


@pytest.fixture(autouse=True)
def in_float64():
    torch.set_num_threads(1)
    with double_precision():
        yield


@pytest.fixture
def env():
    return tasks.get("toy-reach").build(N, "cpu", "torch")


def pair(algo, env, overrides):
    """Stock's algorithm and ours with the same weights, and the config."""
    cfg = OmegaConf.merge(config.load(algo, "toy-reach", "smoke"), {"hidden_sizes": [16, 16], **overrides})
    made = []
    for build in (make_stock_agent, make_agent):
        torch.manual_seed(0)
        made.append(build(algo, env, cfg))
    return *made, cfg


def difference(stock, ours):
    theirs, state = stock.state_dict(), ours.state_dict()
    return max((state[k] - v).abs().max().item() for k, v in theirs.items() if isinstance(v, torch.Tensor))


def rollout(env, rows):
    spec = env.spec
    buffer = RolloutBuffer(len(rows), N, spec.obs_dim, spec.action_dim, env.device, None)
    fill(buffer, rows)
    return buffer


def update_on_policy(algorithm, buffer, cfg, monkeypatch=None):
    """One full update. Stock permutes env by env, ours step by step: map its order of rows onto ours."""
    np.random.seed(1)
    torch.manual_seed(1)
    if monkeypatch is not None:

        def same_order(total, **kwargs):
            order = np.random.permutation(total)
            return torch.as_tensor(order % T * N + order // T)

        monkeypatch.setattr(torch, "randperm", same_order)
    with policy_within_training_step(algorithm.policy):
        algorithm.update(buffer, batch_size=N * T // cfg.minibatches, repeat=cfg.epochs)


CASES = [
    ("ppo", {"desired_kl": None}),
    ("ppo", {"desired_kl": None, "return_scaling": True, "value_clip": True, "advantage_normalization": False}),
    ("ppo", {"desired_kl": None, "layer_norm": True}),
    ("a2c", {"epochs": 2}),
    ("trpo", {}),
    ("trpo", {"minibatches": 3, "return_scaling": True}),
    ("npg", {}),
]


@pytest.mark.parametrize(("algo", "overrides"), CASES)
def test_on_policy_update(env, monkeypatch, algo, overrides):
    stock, ours, cfg = pair(algo, env, overrides)
    initial = [parameter.detach().clone() for parameter in ours.parameters()]
    assert difference(stock, ours) == 0.0
    rows = transitions(T, N, env.spec.obs_dim, env.spec.action_dim)
    update_on_policy(stock, stock_buffer(rows, T), cfg)
    update_on_policy(ours, rollout(env, rows), cfg, monkeypatch)
    assert difference(stock, ours) < TOLERANCE
    assert max((a - b).abs().max() for a, b in zip(initial, ours.parameters(), strict=True)) > 100 * TOLERANCE


@pytest.mark.parametrize("wrong", ["final_obs left out", "truncation taken for termination"])
def test_on_policy_update_notices_a_wrong_bootstrap(env, monkeypatch, wrong):
    stock, ours, cfg = pair("ppo", env, {"desired_kl": None})
    rows = transitions(T, N, env.spec.obs_dim, env.spec.action_dim)
    update_on_policy(stock, stock_buffer(rows, T), cfg)
    for row in rows:
        if wrong == "final_obs left out":
            row.final_obs = row.next_obs
        else:
            row.terminated = row.terminated | row.truncated
    update_on_policy(ours, rollout(env, rows), cfg, monkeypatch)
    assert difference(stock, ours) > 100 * TOLERANCE


@pytest.mark.parametrize("return_scaling", [False, True])
def test_advantages_and_returns(env, return_scaling):
    stock, ours, _ = pair("a2c", env, {"return_scaling": return_scaling})
    rows = transitions(T, N, env.spec.obs_dim, env.spec.action_dim)
    theirs, buffer = stock_buffer(rows, T), rollout(env, rows)
    for _ in range(2):  # the second time with a return scale
        batch, indices = theirs.sample(0)
        expected = stock._add_returns_and_advantages(batch, theirs, indices)
        got = ours._add_returns_and_advantages(buffer.sample(0)[0], buffer, None)
        for name in ("adv", "returns", "v_s"):
            by_env = got[name].view(T, N).T.flatten()
            torch.testing.assert_close(by_env, expected[name], atol=TOLERANCE, rtol=0)


ROWS = 25  # of the ring, fewer than T: it has wrapped


def replay(env, rows):
    buffer = ReplayBuffer(ROWS * N, N, env.spec.obs_dim, rows[0].act[0], env.device, None)
    fill(buffer, rows)
    return buffer


def off_policy(algo, env, overrides):
    stock, ours, cfg = pair(algo, env, overrides)
    choices = len(env.spec.discrete_actions) if algo == "dqn" else 0
    rows = transitions(T, N, env.spec.obs_dim, env.spec.action_dim, choices)
    return stock, ours, cfg, rows


def to_stock(indices):
    """Stock's index of a transition, env * ROWS + row, from ours, row * N + env."""
    return (indices % N * ROWS + indices // N).numpy()


def targets(algorithm, buffer, indices):
    np.random.seed(2)
    torch.manual_seed(2)
    batch = buffer[indices] if isinstance(indices, np.ndarray) else buffer.sample(len(indices))[0]
    with policy_within_training_step(algorithm.policy):
        return algorithm._preprocess_batch(batch, buffer, indices).returns.flatten()


@pytest.mark.parametrize("n_step", [1, 3, 30])
@pytest.mark.parametrize("algo", OFF_POLICY)
def test_nstep_targets(env, algo, n_step):
    stock, ours, _, rows = off_policy(algo, env, {"n_step": n_step})
    theirs, buffer = stock_buffer(rows, ROWS), replay(env, rows)
    every = torch.arange(ROWS * N)
    buffer.sample_indices = lambda size: every
    expected, got = targets(stock, theirs, to_stock(every)), targets(ours, buffer, every)
    torch.testing.assert_close(got, expected.to(got), atol=TOLERANCE, rtol=0)


def update_off_policy(algorithm, buffer, indices):
    np.random.seed(3)
    torch.manual_seed(3)
    for chosen in indices:
        buffer.sample_indices = lambda size, chosen=chosen: chosen
        with policy_within_training_step(algorithm.policy):
            algorithm.update(buffer, len(chosen))


OFF_POLICY_CASES = [
    *((algo, {"n_step": n_step}) for algo in OFF_POLICY for n_step in (1, 3)),
    ("sac", {"layer_norm": False}),
    ("dqn", {"double": False, "target_update_freq": 2}),
]


@pytest.mark.parametrize(("algo", "overrides"), OFF_POLICY_CASES)
def test_off_policy_updates(env, algo, overrides):
    stock, ours, _, rows = off_policy(algo, env, overrides)
    initial = [parameter.detach().clone() for parameter in ours.parameters()]
    draw = torch.Generator().manual_seed(4)
    indices = [torch.randint(ROWS * N, (64,), generator=draw) for _ in range(4)]
    update_off_policy(stock, stock_buffer(rows, ROWS), [to_stock(chosen) for chosen in indices])
    update_off_policy(ours, replay(env, rows), indices)
    assert difference(stock, ours) < TOLERANCE
    assert max((a - b).abs().max() for a, b in zip(initial, ours.parameters(), strict=True)) > 100 * TOLERANCE


@pytest.mark.parametrize("wrong", ["final_obs left out", "truncation taken for termination"])
def test_nstep_targets_notice_a_wrong_bootstrap(env, wrong):
    stock, ours, _, rows = off_policy("td3", env, {"n_step": 3})
    theirs = stock_buffer(rows, ROWS)
    for row in rows:
        if wrong == "final_obs left out":
            row.final_obs = row.next_obs
        else:
            row.terminated = row.terminated | row.truncated
    buffer, every = replay(env, rows), torch.arange(ROWS * N)
    buffer.sample_indices = lambda size: every
    expected, got = targets(stock, theirs, to_stock(every)), targets(ours, buffer, every)
    assert (got - expected).abs().max() > 100 * TOLERANCE


def test_every_learner_is_compared():
    compared = {algo for algo, _ in CASES} | {algo for algo, _ in OFF_POLICY_CASES}
    assert compared == set(baselines.names())
