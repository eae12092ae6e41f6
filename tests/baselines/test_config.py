"""Learner configs: every file loads with every budget, and what is wrong is named."""

import dataclasses
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import baselines
import tasks
from baselines import config
from baselines.algorithms import ppo
from baselines.algorithms.registry import ALGORITHMS


@pytest.mark.parametrize("algo", baselines.names())
@pytest.mark.parametrize("budget", ["smoke", "quick", "full"])
def test_every_learner_has_a_config_for_every_task(algo, budget):
    for task in tasks.known():
        cfg = config.load(algo, task, budget)
        assert cfg.num_envs >= 1
        assert cfg.env_steps is None or cfg.env_steps > 0


def values_in(folder, monkeypatch):
    """Let PPO's values be those of `ppo.yaml` in a folder."""
    monkeypatch.setitem(ALGORITHMS._loaded, "ppo", dataclasses.replace(ppo.PPO, values=folder / "ppo.yaml"))


def test_the_deeper_part_of_a_file_wins(tmp_path, monkeypatch):
    values_in(tmp_path, monkeypatch)
    text = (config.Path(config.__file__).with_name("configs") / "ppo.yaml").read_text()
    head = text[: text.index("budgets:")]
    (tmp_path / "ppo.yaml").write_text(
        head + "budgets: {smoke: {num_envs: 8, epochs: 2}}\n"
        "tasks: {toy-reach: {epochs: 3, horizon: 4, budgets: {smoke: {horizon: 5}}}}\n"
    )
    cfg = config.load("ppo", "toy-reach", "smoke")
    assert (cfg.num_envs, cfg.epochs, cfg.horizon) == (8, 3, 5)
    cfg = config.load("ppo", "toy-reach", "full")
    assert (cfg.num_envs, cfg.epochs, cfg.horizon) == (4096, 3, 4)
    assert config.load("ppo", "another", "smoke").epochs == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("tasks: {toy-reach: {horizons: 4}}", "ppo.yaml, tasks.toy-reach: Key 'horizons' not in 'PPOConfig'"),
        ("budgets: {smoke: {num_envs: many}}", "budgets.smoke: Value 'many'"),
        ("budgets: {smoke: {num_envs: 0}}", "num_envs=0: expected at least 1"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, monkeypatch, line, reason):
    text = (config.Path(config.__file__).with_name("configs") / "ppo.yaml").read_text()
    (tmp_path / "ppo.yaml").write_text(text[: text.index("budgets:")] + line)
    values_in(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=reason):
        config.load("ppo", "toy-reach", "smoke")


def test_a_missing_value_is_named(tmp_path, monkeypatch):
    (tmp_path / "ppo.yaml").write_text("defaults: {num_envs: 4}")
    values_in(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"ppo\.yaml: no value for .*gamma"):
        config.load("ppo", "toy-reach", "smoke")


@pytest.mark.parametrize(
    ("algo", "overrides", "reason"),
    [
        ("ppo", {"gamma": 1.5}, "gamma=1.5: expected between 0 and 1"),
        ("ppo", {"learning_rate": 0.0}, "learning_rate=0.0: expected positive"),
        ("ppo", {"activation": "sine"}, "expected one of elu, relu"),
        ("ppo", {"hidden_sizes": []}, "at least one size"),
        ("ppo", {"minibatches": 10**9}, "num_envs \\* horizon"),
        ("redq", {"subset_size": 50}, "at most ensemble_size"),
        ("td3", {"noise_min": 0.9}, "noise_min=0.9: expected at most noise_max"),
        ("sac", {"buffer_size": 10}, "buffer_size=10: expected at least num_envs \\* horizon"),
    ],
)
def test_values_that_cannot_work_are_refused(algo, overrides, reason):
    cfg = OmegaConf.merge(config.load(algo, "toy-reach", "smoke"), overrides)
    with pytest.raises(ValueError, match=reason):
        config.check(algo, cfg)


def test_an_override_of_an_unknown_key_or_another_type_is_refused():
    cfg = config.load("ppo", "toy-reach", "smoke")
    with pytest.raises(OmegaConfBaseException):
        OmegaConf.merge(cfg, {"epoch": 3})
    with pytest.raises(OmegaConfBaseException):
        OmegaConf.merge(cfg, {"epochs": "three"})


def test_an_unknown_learner_is_refused():
    with pytest.raises(ValueError, match="valid: ppo, a2c"):
        config.load("pp0", "toy-reach", "smoke")


def test_the_digest_depends_on_values_alone():
    one, two = (config.load("sac", "toy-reach", "smoke") for _ in range(2))
    assert config.digest(one) == config.digest(two)
    assert config.digest(OmegaConf.merge(one, {"tau": 0.123})) != config.digest(one)


def test_names_and_configs_need_no_torch():
    code = "import sys, baselines, baselines.config as c; c.load('ppo', 'toy-reach', 'smoke'); baselines.names()"
    subprocess.run([sys.executable, "-c", code + "; assert 'torch' not in sys.modules"], check=True)


def test_a_policy_file_acts_without_tianshou():
    code = "import sys, baselines.policy_file; assert 'tianshou' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
