"""Every setting of every learner at another value than usual: trained, saved, restored, exported."""

import dataclasses
import types
import typing

import pytest
import torch
from tianshou.algorithm.modelfree.sac import FixedAlpha

import baselines
from baselines.algorithms import registry as algorithms
from baselines.tianshou import parts
from tests.baselines.test_learner import Wandering, file_hash, learner, small_config

pytestmark = pytest.mark.usefixtures("one_thread")

NOT_THE_LEARNERS = {"num_envs", "env_steps", "hidden_sizes"}  # sizes, which other tests change
OTHER = {
    **{"activation": "tanh", "gamma": 0.0, "gae_lambda": 1.0, "tau": 1.0, "reward_scale": 0.5, "init_std": 0.3},
    **{"ent_coef": 0.01, "vf_coef": 0.5, "backtrack_coeff": 0.5, "target_entropy": 0.0, "init_alpha": 1.0},
    **{"learning_starts": 0, "buffer_size": 128, "batch_size": 16, "horizon": 4, "minibatches": 1, "subset_size": 1},
    **{"noise_min": 0.0, "noise_max": 1.0, "policy_noise": 0.0, "noise_clip": 0.0, "epsilon_max": 1.0},
    **{"eps_clip": 0.1, "learning_rate_min": 1e-6, "learning_rate_max": 1.0, "max_kl": 0.5, "trust_region_size": 0.2},
}


def others(algo):
    """Settings and values that differ from those that `small_config` has."""
    cfg = small_config(algo)
    for field, kind in typing.get_type_hints(algorithms.get(algo).schema).items():
        value = cfg[field]
        if field in NOT_THE_LEARNERS:
            continue
        if kind is bool:
            yield field, not value
        elif field in OTHER:
            yield field, OTHER[field]
        elif kind is int:
            yield field, 2 if value == 1 else 1
        else:
            yield field, value / 2 if value else 1.0
        if isinstance(kind, types.UnionType) and value is not None:
            yield field, None


def check(tmp_path, make):
    """A training that is restored from its checkpoint ends as it does without."""
    agent = make()
    for _ in range(2):
        agent.iterate()
    agent.checkpoint(tmp_path / "last")
    for _ in range(2):
        agent.iterate()
    other = make()
    other.restore(tmp_path / "last")
    for _ in range(2):
        other.iterate()
    assert file_hash(agent, tmp_path / "a") == file_hash(other, tmp_path / "b")
    pairs = zip(agent.algorithm.parameters(), other.algorithm.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    return agent


@pytest.mark.parametrize("algo", baselines.names())
@pytest.mark.parametrize("last", [False, True], ids=["another value", "no value where that is allowed"])
def test_settings_at_other_values_train_and_resume(tmp_path, algo, last):
    """All at once, which is cheap. `others` one by one would say which of them it is."""
    pairs = list(others(algo))
    changes = dict(pairs if last else reversed(pairs))
    assert set(changes) == {field.name for field in dataclasses.fields(algorithms.get(algo).schema)} - NOT_THE_LEARNERS
    check(tmp_path, lambda: learner(algo, seed=3, teacher=Wandering(), **changes))


@pytest.mark.parametrize("algo", ["sac", "redq"])
def test_a_constant_temperature_trains_and_resumes(tmp_path, monkeypatch, algo):
    monkeypatch.setattr(parts, "temperature", lambda env, cfg: FixedAlpha(cfg.init_alpha))
    agent = check(tmp_path, lambda: learner(algo, seed=3, teacher=Wandering()))
    assert agent.algorithm.alpha.value == agent.cfg.init_alpha
