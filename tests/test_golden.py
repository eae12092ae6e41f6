"""What must not change without a reason: hashes that published results refer to, and what a toy training computes.

A deliberate change is written down by `GRADUS_GOLDEN=write pytest tests/test_golden.py`, and its commit says why.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

import baselines
import curricula
import tasks
from suite import protocol
from suite.cli import arguments
from suite.errors import UserError
from suite.execute import devices
from suite.plan import config
from suite.plan.matrix import plan

FOLDER = Path(__file__).parent / "golden"


def agree(name: str, found: dict) -> None:
    """Compare with golden/`name`.json, or write that file where the environment asks for it."""
    file = FOLDER / f"{name}.json"
    if os.environ.get("GRADUS_GOLDEN") == "write":
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    golden = json.loads(file.read_text(encoding="utf-8"))
    assert {key: value for key, value in found.items() if golden.get(key) != value} == {}
    assert golden.keys() == found.keys()


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def test_protocols_are_the_ones_that_published_evaluations_name():
    found = {}
    for task in (*tasks.names(), "toy-reach", "toy-line"):
        for name, (per_grade, per_cell, per_env) in protocol.EPISODES.items():
            asked = protocol.Protocol(task, "any", "cpu", name, per_grade, per_cell, per_env, 7)
            found[f"{task} {name}"] = protocol.identity(tasks.get(task), asked)["sha256"]
    agree("protocols", found)


@pytest.mark.parametrize("budget", ["smoke", "quick", "full"])
def test_paths_and_fingerprints_of_runs_stay(budget, tmp_path, monkeypatch):
    """Of every task, algorithm and teacher at two levels: a command finds the runs that it once made."""
    monkeypatch.setattr("suite.plan.matrix.concrete_engine", lambda physics, spec: "newton_mjwarp")
    shared = ["--task", "all", "--budget", budget, "--device", "cpu", "--wandb", "disabled", "--out", str(tmp_path)]
    found = {}
    for algo, teacher in [(a, "none") for a in baselines.names()] + [("ppo", t) for t in curricula.names()]:
        argv = [*shared, "--algo", algo, "--curriculum", teacher, "--randomization", "r0,r2"]
        try:
            jobs = plan(arguments.parse(argv)[0])
        except UserError:  # no task of the suite has discrete actions
            found[f"{algo} {teacher}"] = "refused"
            continue
        runs = [[job.run.path.relative_to(tmp_path).as_posix(), config.fingerprint(job.content("cpu"))] for job in jobs]
        found[f"{algo} {teacher}"] = digest(sorted(runs))
    agree(f"runs-{budget}", found)


def test_paths_and_fingerprints_with_changed_settings_stay(tmp_path):
    argv = ["--task", "toy-reach,toy-line", "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--seeds", "2"]
    argv += ["--wandb", "disabled", "--out", str(tmp_path), "train.num_envs=32", "agent.gamma=0.9", "eval.seed=7"]
    argv += ["--curriculum", "none"]
    jobs = plan(arguments.parse([*argv, "curriculum.grade=g2"])[0])
    agree(
        "changed-settings",
        {job.run.path.relative_to(tmp_path).as_posix(): config.fingerprint(job.content("cpu")) for job in jobs},
    )


def test_evaluated_episodes_stay():
    """A spring on the toy env: which episodes there are, and what happened in them."""
    from tests.helpers.toy_runs import spring_run

    table = pq.read_table(spring_run() / "episodes.parquet")
    columns = {}
    for name in table.column_names:
        values = table[name].to_pylist()
        columns[name] = digest([round(value, 4) if isinstance(value, float) else value for value in values])
    agree("episodes", columns)


def test_trainings_stay_the_same_in_every_bit(one_thread, tmp_path):
    """A few iterations of each algorithm on the toy env, by the kind of CPU: other kinds round differently."""
    from baselines.learner.learners import make_learner

    found = {}
    for algo in baselines.names():
        task = "toy-line" if algo == "dqn" else "toy-reach"
        for teacher in ("none", "adr") if algo in ("ppo", "sac") else ("none",):
            spec = tasks.get(task)
            agent = baselines.config.load(algo, task, "smoke")
            agent.num_envs, agent.env_steps = 16, 4096
            env = spec.build(16, "cpu", spec.engines[0])
            taught = curricula.make(curricula.config.load(teacher), spec, "r2", 16, env.device, 3)
            env.set_sampler(taught.sample, [factor.name for factor in spec.factors if not factor.held_out])
            learner = make_learner(algo, env, agent, 3, taught, {})
            while learner.env_steps < 2048:
                _, episodes = learner.iterate()
                taught.update(episodes)
            file = tmp_path / f"{algo}-{teacher}.safetensors"
            learner.export(file)
            found[f"{algo} {teacher}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    cpu = f"{devices.cpu_name()}, {torch.backends.cpu.get_cpu_capability()}"
    kind = f"{cpu}, torch {torch.__version__}, {platform.machine()}"
    file = FOLDER / "trainings.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if os.environ.get("GRADUS_GOLDEN") == "write":
        known[kind] = found
        file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if kind not in known:
        pytest.skip(f"no golden trainings of this kind of CPU: {kind}")
    assert found == known[kind]
