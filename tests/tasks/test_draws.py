"""Counter-based draws: what they are, and what they do not depend on."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

import tasks
from tasks.core.draws import Draws, direction, mix

CPU = torch.device("cpu")
DEVICES = ["cpu", "cuda:0"] if torch.cuda.is_available() else ["cpu"]


def draws(num_envs=512, seed=3, stream="toy", device=CPU):
    made = Draws(num_envs, torch.device(device))
    made.seed(seed, stream)
    made.begin(torch.ones(num_envs, dtype=torch.bool, device=device))
    return made


def test_the_hash_is_splitmix64():
    """Its first outputs from state 1234567, as published with the generator."""
    state, gamma, words = 1234567, 0x9E3779B97F4A7C15, []
    for _ in range(3):
        state = (state + gamma) % 2**64
        signed = state - 2**64 if state >= 2**63 else state
        words.append(int(mix(torch.tensor(signed))) % 2**64)
    assert words == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_what_a_row_draws_does_not_depend_on_the_others():
    alone, among = draws(4), draws(512)
    for made in alone, among:
        made.advance()
        rows = torch.zeros(len(made.episode), dtype=torch.bool)
        rows[[1, 3]] = True
        made.begin(rows)
    among.begin(torch.arange(512) > 100)
    for kind in "uniform", "within", "normal":
        for of_step in False, True:
            one, other = (getattr(made, kind)("x", 3, of_step=of_step) for made in (alone, among))
            assert torch.equal(one, other[:4])


def test_an_identity_draws_the_same_in_any_row():
    one, other = draws(8), Draws(8, CPU)
    other.identify(torch.arange(8).flip(0))
    other.seed(3, "toy")
    other.begin(torch.ones(8, dtype=torch.bool))
    assert torch.equal(one.uniform("x", 2), other.uniform("x", 2).flip(0))


def test_numbers_are_others_with_each_part_of_their_key():
    made = draws()
    seen = [
        made.uniform("x", 4),
        made.uniform("y", 4),
        draws(seed=4).uniform("x", 4),
        draws(stream="b").uniform("x", 4),
    ]
    seen += [made.uniform("x", 4, of_step=True)]
    made.advance()
    seen += [made.uniform("x", 4, of_step=True)]
    assert torch.equal(made.uniform("x", 4), seen[0])  # an episode's own stay
    made.begin(torch.ones(512, dtype=torch.bool))
    seen += [made.uniform("x", 4), made.uniform("x", 4, of_step=True)]
    values = torch.stack(seen).flatten(1)
    assert (torch.corrcoef(values) - torch.eye(len(seen))).abs().max() < 5.0 / math.sqrt(values.shape[1])


def test_uniform_normal_and_whole_numbers_have_their_distributions():
    made = draws(20000)
    uniform, normal, below = made.uniform("u", 5), made.normal("n", 5), made.below("b", 7)
    assert scipy.stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 1e-4
    assert scipy.stats.kstest(normal.flatten().numpy(), "norm").pvalue > 1e-4
    assert scipy.stats.chisquare(np.bincount(below.numpy(), minlength=7)).pvalue > 1e-4
    within = made.within("w", 5)
    assert -1.0 <= within.min() < -0.999 < 0.999 < within.max() < 1.0
    for x in uniform, normal:  # neighbouring rows and neighbouring numbers of a draw
        assert abs(np.corrcoef(x[:-1].flatten(), x[1:].flatten())[0, 1]) < 0.02
        assert abs(np.corrcoef(x[:, :-1].flatten(), x[:, 1:].flatten())[0, 1]) < 0.02


def test_episodes_of_a_row_are_independent():
    made, seen = draws(2000), []
    for _ in range(6):
        seen.append(made.uniform("x"))
        made.begin(torch.ones(2000, dtype=torch.bool))
    assert (np.corrcoef(torch.stack(seen).numpy()) - np.eye(6)).max() < 0.1


@pytest.mark.parametrize("device", DEVICES)
def test_directions_have_length_one(device):
    angle = torch.linspace(-4.0, 4.0, 1001, device=device)
    assert torch.allclose(direction(angle).norm(dim=-1), torch.ones_like(angle))
    assert torch.equal(direction(angle).cpu(), direction(angle.cpu()))


@pytest.mark.skipif(len(DEVICES) < 2, reason="needs a GPU")
def test_a_gpu_draws_the_same_bits():
    made = [draws(4096, device=device) for device in DEVICES]
    for kind in "uniform", "within", "normal":
        one, other = (getattr(x, kind)("x", 48, of_step=True).cpu() for x in made)
        assert torch.equal(one, other)


def episodes(num_envs, seed, policy):
    """Start observations of the first 4 episodes of rows 0 to 3 of the toy env [4, 4, obs], whatever is done in it."""
    env, found = tasks.get("toy-reach").build(num_envs, "cpu", "torch"), [[] for _ in range(4)]
    env.set_sampler(lambda env_ids: torch.full((len(env_ids),), 0.5))
    obs = env.reset(seed)
    for row in range(4):
        found[row].append(obs[row].clone())
    while min(map(len, found)) < 4:
        obs, _, terminated, truncated, _ = env.step(policy(obs))
        for row in (terminated | truncated)[:4].nonzero().squeeze(-1).tolist():
            found[row].append(obs[row].clone())
    return torch.stack([torch.stack(starts[:4]) for starts in found])


def test_start_states_are_the_same_for_every_policy_and_number_of_envs():
    generator = torch.Generator().manual_seed(0)
    still = episodes(4, 5, lambda obs: torch.zeros(4, 2))
    wild = episodes(64, 5, lambda obs: torch.rand(64, 2, generator=generator) * 2 - 1)
    east = episodes(16, 5, lambda obs: torch.tensor([[1.0, 0.0]]).repeat(16, 1))  # leaves the arena early
    assert torch.equal(still, wild)
    assert torch.equal(still, east)
    assert not torch.equal(still, episodes(4, 6, lambda obs: torch.zeros(4, 2)))
    assert len(still.flatten(0, 1).unique(dim=0)) == 16
