"""One policy for several tasks, through the suite: mix, interruption, evaluation by task, the board, submission."""

import dataclasses
import json

import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

import curricula
import tasks
from baselines import config
from baselines.learner.base import Learner
from baselines.learner.learners import make_learner
from baselines.policy_file import load_policy, specialise
from curricula.episodes import Episodes
from curricula.mix import Mix
from leaderboard import submit
from leaderboard.board import board
from suite import evaluate, reproduce
from suite.cli import arguments
from suite.errors import UserError
from suite.execute import scheduler
from suite.execute.launch import Local
from suite.plan.config import fingerprint, load, saved_fingerprint
from suite.plan.matrix import plan
from suite.report.display import Display
from suite.runs import multitask, training
from suite.runs.rundir import RunDir, sha256
from tasks.multitask.env import make_env
from tests.helpers.trainings import SMALL, Silent

pytestmark = pytest.mark.usefixtures("one_thread")

NAME = "toy-reach+toy-line"
TASKS = ("toy-reach", "toy-line")


def planned(out, *rest, task="toy-line+toy-reach"):
    argv = ["--task", task, "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--wandb", "disabled"]
    return plan(arguments.parse([*argv, "--out", str(out), *SMALL, *rest])[0])


def train(out, *rest):
    (job,) = planned(out, *rest)
    job.run.path.mkdir(parents=True, exist_ok=True)
    training.train(job.config("cpu"), job.run, "cpu", Silent())
    return job.run


def mix(how="progress", floor=0.5, teacher="staged"):
    cfg = OmegaConf.structured(curricula.config.MixConfig(tasks=NAME, mix=how, floor=floor))
    parts = tasks.get(NAME).parts
    made = [curricula.make(curricula.config.load(teacher), part, "r0", 8, "cpu", k) for k, part in enumerate(parts)]
    return Mix(made, cfg)


def finished(task, success):
    """Episodes of a multi-task env: `task` [k] and whether each succeeded, once and at the end alike."""
    k = len(task)
    factors = torch.zeros(k, 2 + 8)
    factors[:, 0], factors[:, 1] = torch.tensor(task), torch.arange(k) % 8
    success = torch.tensor(success)
    zeros = torch.zeros(k)
    return Episodes(torch.arange(k), zeros, factors, zeros, zeros, success, success, 0)


def test_episodes_are_handed_to_the_teacher_of_their_task():
    episodes = dataclasses.replace(finished([1, 0, 1, 1], [True] * 4), returns=torch.arange(4.0))
    reach, line = mix().split(episodes)
    assert reach.returns.tolist() == [1.0]
    assert line.returns.tolist() == [0.0, 2.0, 3.0]
    assert line.env_ids.tolist() == [0, 2, 3]  # rows of the task's own env
    assert reach.factors.shape == (1, 8)
    assert line.factors.shape == (3, 3)


def test_shares_follow_the_progress_of_success():
    progress = mix(floor=0.4)
    assert progress.shares() == [0.5, 0.5]
    for _ in range(20):
        progress.update(finished([0] * 8 + [1] * 8, [False] * 8 + [True] * 8))  # only the second task is learned
    shares = progress.shares()
    assert shares == pytest.approx([0.2, 0.8])
    assert progress.dealt == shares
    assert progress.teachers[1].stage.mean() > 0.2
    assert progress.teachers[0].stage.mean() == 0.0
    again = mix(floor=0.4)
    again.load_state_dict(progress.state_dict())
    assert again.shares() == progress.shares()
    assert mix("uniform").shares() == [0.5, 0.5]


@pytest.mark.parametrize("algo", ["ppo", "sac", "td3"])
@pytest.mark.parametrize("obs_norm", [True, False])
def test_the_policy_of_a_task_acts_as_the_whole_one(tmp_path, algo, obs_norm):
    spec = tasks.get(NAME)
    cfg = config.load(algo, "toy-reach", "smoke")
    cfg = OmegaConf.merge(cfg, {"num_envs": 8, "hidden_sizes": [16, 8], "obs_norm": obs_norm})
    learner = make_learner(algo, make_env(spec, 8, "cpu", "torch"), cfg, 0, teacher=None)
    if obs_norm:
        learner.norm.update(torch.randn(100, spec.obs_dim) * 2.0 + 0.5)
    learner.export(tmp_path / "whole")
    whole = load_policy(tmp_path / "whole", "cpu")
    for k, part in enumerate(spec.parts):
        specialise(tmp_path / "whole", spec, k, tmp_path / part.name)
        own = load_policy(tmp_path / part.name, "cpu")
        obs = torch.zeros(64, spec.obs_dim)
        seen = torch.randn(64, part.obs_dim)
        obs[:, spec.obs_columns(k)] = seen
        obs[:, spec.task_column(k)] = 1.0
        expected = whole(obs)[:, spec.action_columns(k)]
        assert torch.allclose(own(seen), expected, atol=1e-5)
        assert expected.std() > 1e-4


def test_a_discrete_policy_of_a_task_chooses_as_the_whole_one(tmp_path):
    reach = tasks.get("toy-reach")
    spec = tasks.multitask.declare.declare([reach, dataclasses.replace(reach, name="toy-other")])
    cfg = OmegaConf.merge(config.load("dqn", "toy-reach", "smoke"), {"num_envs": 8})
    learner = make_learner("dqn", make_env(spec, 8, "cpu", "torch"), cfg, 0, teacher=None)
    learner.export(tmp_path / "whole")
    specialise(tmp_path / "whole", spec, 1, tmp_path / "own")
    seen = torch.randn(64, reach.obs_dim)
    obs = torch.cat((seen, torch.tensor([0.0, 1.0]).expand(64, 2)), dim=1)
    chosen = load_policy(tmp_path / "own", "cpu")(seen)
    assert (chosen == load_policy(tmp_path / "whole", "cpu")(obs)).float().mean() > 0.95  # Q values may all but tie


@pytest.mark.parametrize(
    "rest",
    [
        ("multi.mix=progress", "--curriculum", "staged"),
        ("--randomization", "r3", "--curriculum", "adr", "curriculum.target=both", "curriculum.window=16"),
    ],
)
def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path, monkeypatch, rest):
    whole = train(tmp_path / "whole", *rest)
    iterate = Learner.iterate

    def interrupted(learner):
        if learner.env_steps >= 5000:
            raise KeyboardInterrupt
        return iterate(learner)

    monkeypatch.setattr(Learner, "iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", *rest)
    monkeypatch.undo()
    parts = train(tmp_path / "parts", *rest)
    assert sha256(parts.policy) == sha256(whole.policy)
    for task in TASKS:
        assert sha256(parts.part(task).policy) == sha256(whole.part(task).policy)
        last = [pq.read_table(run.part(task).curriculum).to_pylist()[-1] for run in (parts, whole)]
        assert str(last[0]) == str(last[1])  # NaN where no episode was
    row = pq.read_table(whole.progress).to_pylist()[-1]
    assert row["env_steps"] == 8192
    assert row["share.toy-reach"] + row["share.toy-line"] == pytest.approx(1.0)
    if "multi.mix=progress" in rest:
        shares = pq.read_table(whole.progress).column("share.toy-line").to_pylist()
        assert shares[0] == 0.5
        assert len(set(shares)) > 1
        assert all(0.25 <= share <= 0.75 for share in shares)


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A run for both tasks, trained until it solves the first grades of both, and the folder of it."""
    out = tmp_path_factory.mktemp("runs")
    settings = ["train.env_steps=32768", "train.num_envs=64", "--out", str(out)]
    argv = ["--task", "toy-line+toy-reach", "--algo", "ppo", "--budget", "smoke", "--device", "cpu"]
    jobs = plan(arguments.parse([*argv, "--wandb", "disabled", *settings])[0])
    (tracked,) = scheduler.execute(jobs, Local(["cpu"], 900), Display())
    assert tracked.state == "complete", tracked.message
    return out, jobs[0].run


def test_the_run_of_each_task_is_whole(complete):
    _, run = complete
    result = run.read_result()
    assert result["task"] == NAME
    assert set(result["tasks"]) == set(TASKS)
    assert {row["task"] for row in pq.read_table(run.episodes, columns=["task"]).to_pylist()} == set(TASKS)
    for task in TASKS:
        part = run.part(task)
        own = part.read_result()
        assert own["task"] == task
        assert own["overrides"]["multi.tasks"] == NAME
        assert own["env_steps"] == result["env_steps"] == 32768
        assert own["policy_sha256"] == sha256(part.policy) != result["policy_sha256"]
        assert own["success"]["g1"] > 0.3
        assert own["success"] == result["tasks"][task]
        content = OmegaConf.to_container(load(part))
        assert content["task"] == task
        assert saved_fingerprint(part) == fingerprint(content)
        planned = OmegaConf.to_container(reproduce.config_of(own), resolve=True)
        assert fingerprint(planned) == fingerprint(content)
    assert result["success"]["g1"] == pytest.approx(sum(result["tasks"][task]["g1"] for task in TASKS) / 2)


def test_the_board_ranks_it_by_task_as_an_entry_of_its_own(complete):
    out, _ = complete
    found = board.load(out)
    assert not found.skipped
    rows = {row.task: row for row in found.results}
    assert set(rows) == set(TASKS)
    for row in rows.values():
        assert json.loads(row.entry.overrides)["multi.tasks"] == NAME
        assert len(row.runs) == 1


def test_a_policy_for_several_tasks_is_for_the_open_division(complete, tmp_path):
    _, run = complete
    texts = {"title": "One for both", "submitter": "someone", "contact": "someone@example.org", "description": ""}
    with pytest.raises(UserError, match="for one task"):
        submit.pack([run.path], tmp_path / "closed.zip", "closed", texts)
    _, count = submit.pack([run.path], tmp_path / "open.zip", "open", texts)
    assert count == 2


def test_what_needs_one_task_says_so(complete, tmp_path):
    _, run = complete
    with pytest.raises(UserError, match="is of several tasks; name one of"):
        evaluate.main([str(run.path), "--device", "cpu"])
    with pytest.raises(UserError, match=r"was trained for several tasks; do it with suite.run --task toy-reach\+toy"):
        reproduce.main([str(run.part("toy-line").path), "--device", "cpu", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("task", "rest", "said"),
    [
        ("toy-line+toy-lin", (), "unknown task 'toy-lin'"),
        ("toy-line+toy-line", (), "expected two or more different tasks"),
        ("toy-line+ant-run", (), "ant-run have neither the same robot nor the same spaces"),
        (NAME, ("multi.mix=even",), "multi.mix=even: expected one of uniform, progress"),
        (NAME, ("multi.floor=0",), "multi.floor=0.0: expected above 0"),
        (NAME, ("train.curve=true",), "train.curve=true is for one task"),
        (NAME, ("--algo", "zero"), "zero is not trained, so it needs no set of tasks"),
        (NAME, ("--algo", "dqn"), "declares no discrete actions"),
        (NAME, ("--curriculum", "adr", "curriculum.target=factors", "curriculum.factors=[noise]"), "factors: 'noise'"),
        ("toy-line", ("multi.mix=progress",), "multi.mix"),
        (NAME, ("multi.tasks=toy-line",), "multi.tasks cannot be overridden; set it with --task"),
        (NAME, ("train.num_envs=1",), "train.num_envs=1: expected an env or more for each of the 2 tasks"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, task, rest, said):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        planned(tmp_path, *rest, task=task)
    assert said in str(error.value)


def test_a_run_directory_of_one_task_holds_no_mix(tmp_path):
    (single,) = planned(tmp_path, task="toy-line")
    (joint,) = planned(tmp_path)
    assert "multi" not in {key for key, value in single.setting.items() if value}
    assert joint.run.path.parts[-4] == NAME
    assert isinstance(joint.run, RunDir)


def test_rows_that_idle_start_no_episodes(tmp_path, one_thread):
    """The shares of `progress` leave rows idle, whose teacher is asked, too: these are no episodes of the training."""
    argv = ["--task", "toy-reach+toy-line", "--algo", "ppo", "--curriculum", "uniform", "multi.mix=progress"]
    argv += ["--budget", "smoke", "--device", "cpu", "--wandb", "disabled", "train.num_envs=64", "--out", str(tmp_path)]
    (job,) = plan(arguments.parse(argv)[0])
    env, mix = multitask.build(job.config("cpu"), "cpu", lambda sampler: sampler)
    env.reset(0)
    generator, ended = torch.Generator().manual_seed(0), 0
    for _ in range(60):
        _, _, terminated, truncated, _ = env.step(torch.rand(64, env.spec.action_dim, generator=generator) * 2 - 1)
        ended += int((terminated | truncated).sum())
    assert ended
    assert sum(own.num_envs for own in env.envs) > 64
    assert sum(sum(teacher.take_started()) for teacher in mix.teachers) == 64 + ended
