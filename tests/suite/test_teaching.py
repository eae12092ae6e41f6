"""Trainings with a teacher, in this process: interrupted ones, what is recorded, and the curve by grade."""

import dataclasses
import hashlib

import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

import curricula
import tasks
from baselines import config
from baselines.learner import warm_start
from baselines.learner.base import Learner
from baselines.learner.learners import make_learner
from suite.cli import arguments
from suite.errors import UserError
from suite.plan.matrix import plan
from suite.runs import training
from suite.runs.grade_curve import first_episodes
from suite.runs.rundir import RESULT_KEYS, write_json
from suite.tracking import curriculum_figure
from tasks.spec import GRADES
from tests.helpers.trainings import SMALL, Silent

pytestmark = pytest.mark.usefixtures("one_thread")


def prepared(out, teacher, *rest):
    argv = ["--task", "toy-reach", "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--wandb", "disabled"]
    (job,) = plan(arguments.parse([*argv, "--curriculum", teacher, "--out", str(out), *SMALL, *rest])[0])
    job.run.path.mkdir(parents=True, exist_ok=True)
    return job


def train(out, teacher, *rest):
    job = prepared(out, teacher, *rest)
    training.train(job.config("cpu"), job.run, "cpu", Silent())
    return job.run


def policy(run):
    return hashlib.sha256(run.policy.read_bytes()).hexdigest()


FACTORS = ("--randomization", "r3", "curriculum.target=both")


@pytest.mark.parametrize(
    ("teacher", "rest"),
    [
        ("adr", (*FACTORS, "curriculum.window=16")),
        ("plr", (*FACTORS, "train.curve=true", "curriculum.score=advantage")),
        ("spdl", ("curriculum.fit_every=32",)),
    ],
)
def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path, monkeypatch, teacher, rest):
    whole = train(tmp_path / "whole", teacher, *rest)
    iterate = Learner.iterate

    def interrupted(learner):
        if learner.env_steps >= 5000:
            raise KeyboardInterrupt
        return iterate(learner)

    monkeypatch.setattr(Learner, "iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", teacher, *rest)
    monkeypatch.undo()
    parts = train(tmp_path / "parts", teacher, *rest)
    assert policy(parts) == policy(whole)
    tables = [pq.read_table(run.curriculum).to_pylist()[-1] for run in (parts, whole)]
    assert tables[0]["env_steps"] == tables[1]["env_steps"] == 8192
    states = [{key: value for key, value in table.items() if key.startswith("teacher.")} for table in tables]
    assert states[0] == states[1] != {}
    if "train.curve=true" in rest:
        curves = [pq.read_table(run.curve).drop_columns(["wall_time_s", "teacher_time_s"]) for run in (parts, whole)]
        assert curves[0].equals(curves[1])


def test_the_curve_changes_nothing_and_has_every_grade_at_every_checkpoint(tmp_path):
    plain = train(tmp_path / "plain", "uniform", "--randomization", "r3")
    assert not plain.curve.exists()
    measured = train(tmp_path / "measured", "uniform", "--randomization", "r3", "train.curve=true")
    assert policy(plain) == policy(measured)
    rows = pq.read_table(measured.curve).to_pylist()
    assert [row["env_steps"] for row in rows] == [steps for steps in (0, 2048, 4096, 6144, 8192) for _ in GRADES]
    assert [row["grade"] for row in rows[:5]] == list(GRADES)
    assert [row["episodes"] for row in rows[:5]] == [7, 7, 6, 6, 6]
    assert all(0 <= row["success"] <= 1 for row in rows)
    times = [row["wall_time_s"] for row in rows]
    assert times == sorted(times)
    last = pq.read_table(measured.progress).to_pylist()[-1]
    assert times[-1] == last["wall_time_s"] >= last["teacher_time_s"] == rows[-1]["teacher_time_s"] > 0
    assert {path.name for path in measured.path.iterdir()} == {
        *("curve.parquet", "progress.parquet", "curriculum.parquet", "policy.safetensors", "checkpoint")
    }


def test_success_of_the_first_episodes():
    env = tasks.get("toy-reach").build(10, "cpu", "torch")

    def go_in_even_rows(obs):
        action = (2.0 * obs[:, 4:6] - 1.5 * obs[:, 2:4]).clamp(-1, 1)
        action[1::2] = obs[1::2, 0:2].sign()  # leaves the arena, again and again
        return action

    success, returns = first_episodes(env, go_in_even_rows, 1)
    assert success.tolist() == [1.0, 0.0] * 5
    assert returns.isfinite().all()
    assert returns.std() > 0


def test_the_picture_of_a_curriculum_has_a_panel_per_parameter(tmp_path):
    run = train(tmp_path, "adr", *FACTORS, "curriculum.factors=[mass,wind]")
    figure = curriculum_figure.draw(pq.read_table(run.curriculum).to_pylist())
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels[:5] == ["difficulty", "difficulty", "difficulty", "mass", "wind"]
    figure.savefig(tmp_path / "figure.png")


def test_a_teacher_that_needs_advantages_gets_those_of_whole_episodes():
    """An episode is 50 steps and an iteration 16: the sum goes on from one to the next."""
    spec = tasks.get("toy-reach")
    teacher = curricula.make(
        OmegaConf.merge(curricula.config.load("plr"), {"score": "advantage"}), spec, "r0", 8, "cpu", 0
    )
    cfg = OmegaConf.merge(config.load("ppo", "toy-reach", "smoke"), {"num_envs": 8, "horizon": 16})
    learner = make_learner("ppo", spec.build(8, "cpu", "torch"), cfg, 0, teacher)
    steps, done, found = [], [], []
    for _ in range(8):
        _, episodes = learner.iterate()
        steps.append(learner.algorithm.advantage.abs())
        done.append(learner.buffer.terminated | learner.buffer.truncated)
        found.append(episodes.advantage)
    steps, done = torch.cat(steps), torch.cat(done)
    expected = []
    for t, env in done.nonzero().tolist():
        begun = max([s + 1 for s in range(t) if done[s, env]], default=0)
        expected.append(steps[begun : t + 1, env].mean().item())
    assert len(expected) >= 16
    assert torch.cat(found).tolist() == pytest.approx(expected, rel=1e-4)
    cfg = OmegaConf.merge(config.load("sac", "toy-reach", "smoke"), {"num_envs": 8})
    with pytest.raises(ValueError, match="from advantages, which sac does not compute"):
        make_learner("sac", spec.build(8, "cpu", "torch"), cfg, 0, teacher)


def test_a_score_that_an_algorithm_does_not_have_is_refused_before_training(tmp_path):
    with pytest.raises(UserError, match=r"curriculum plr learns from advantages, which sac does not compute"):
        prepared(tmp_path, "plr", "curriculum.score=advantage", "--algo", "ppo,sac")


@pytest.mark.parametrize(
    ("algo", "settings"),
    [*((algo, {}) for algo in ("ppo", "a2c", "sac", "td3", "dqn")), ("ppo", {"bounded_mean": True})],
)
def test_a_training_starts_where_another_ended(tmp_path, algo, settings):
    cfg = OmegaConf.merge(config.load(algo, "toy-reach", "smoke"), {"num_envs": 8, "hidden_sizes": [8, 8]}, settings)
    env = tasks.get("toy-reach").build(8, "cpu", "torch")
    first, second = (make_learner(algo, env, cfg, seed, teacher=None) for seed in (0, 1))
    first.norm.update(torch.randn(100, env.spec.obs_dim) + 3.0)
    first.export(tmp_path / "first")
    warm_start.check(tmp_path / "first", env.spec, algo, cfg)
    warm_start.load(second, tmp_path / "first", 1000)
    second.export(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert second.norm.count == 1000
    for pair in getattr(getattr(second.algorithm, "_lagged_networks", None), "_lagged_network_pairs", ()):
        assert all(torch.equal(a, b) for a, b in zip(pair.target.parameters(), pair.source.parameters(), strict=True))


def test_a_policy_whose_mean_is_not_bounded_is_no_start_for_one_that_is(tmp_path):
    env = tasks.get("toy-reach").build(8, "cpu", "torch")
    cfg = OmegaConf.merge(config.load("ppo", "toy-reach", "smoke"), {"num_envs": 8})
    make_learner("ppo", env, cfg, 0, teacher=None).export(tmp_path / "free")
    with pytest.raises(warm_start.WarmStartError, match="its squash is clip, expected tanh"):
        warm_start.check(tmp_path / "free", env.spec, "ppo", OmegaConf.merge(cfg, {"bounded_mean": True}))


def test_statistics_of_what_only_a_critic_sees_come_soon(tmp_path):
    terms = tasks.get("toy-reach").observations
    spec = dataclasses.replace(tasks.get("toy-reach"), observations=terms[:2], critic_observations=terms[2:])
    cfg = OmegaConf.merge(config.load("ppo", "toy-reach", "smoke"), {"num_envs": 8, "horizon": 16})
    first, second = (make_learner("ppo", spec.build(8, "cpu", "torch"), cfg, seed, teacher=None) for seed in (0, 1))
    first.norm.update(torch.randn(100, spec.obs_dim) + 3.0)
    first.export(tmp_path / "first")
    warm_start.check(tmp_path / "first", spec, "ppo", cfg)
    warm_start.load(second, tmp_path / "first", 10**6)
    assert second.norm.mean[:4].equal(first.norm.mean[:4])
    assert second.norm.mean[4:].eq(0.0).all()
    assert second.norm.count == 128  # one rollout


def complete(run, env_steps=8192):
    """Make a trained run look complete."""
    run.episodes.touch()
    result = dict.fromkeys(RESULT_KEYS) | {"env_steps": env_steps, "policy_sha256": policy(run)}
    write_json(run.result, result)
    return run


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A complete run, not to be changed."""
    torch.set_num_threads(1)
    return complete(train(tmp_path_factory.mktemp("source"), "none"))


def test_warm_start_of_a_run(tmp_path):
    source = complete(train(tmp_path, "none", "train.curve=true"))
    warm = train(tmp_path, "none", "train.curve=true", "--init", str(source.path))
    assert warm.path != source.path
    before, after = (pq.read_table(run.curve).to_pylist() for run in (source, warm))
    assert [row["success"] for row in after[:5]] == [row["success"] for row in before[-5:]]
    assert [row["return_mean"] for row in after[:5]] == [row["return_mean"] for row in before[-5:]]
    assert policy(warm) != policy(source)
    source.policy.write_bytes(source.policy.read_bytes() + b" ")
    with pytest.raises(UserError, match="is not the policy that"):
        prepared(tmp_path, "none", "--init", str(source.path))


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (("agent.hidden_sizes=[32]",), "its layers is"),
        (("agent.obs_norm=false",), "was trained with obs_norm"),
        (("agent.activation=tanh",), "its layers is"),
        (("--algo", "sac", "agent.layer_norm=false", "agent.activation=elu"), "its squash is clip, expected tanh"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_before_training(tmp_path, source, rest, said):
    with pytest.raises(UserError, match=said) as error:
        prepared(tmp_path / "other", "none", "--init", str(source.path), *rest)
    assert "\n" not in str(error.value)


def test_a_run_that_is_not_complete_cannot_be_started_from(tmp_path):
    with pytest.raises(UserError, match="is no complete run"):
        prepared(tmp_path, "none", "--init", str(tmp_path / "nowhere"))
