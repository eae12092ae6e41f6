"""Whole runs of the toy task through the command line: reproducible, resumable, isolated, tracked."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import suite
import tasks
from suite.cli import arguments
from suite.execute import scheduler
from suite.execute.launch import Local
from suite.plan.matrix import plan
from suite.report.display import Display
from suite.runs.rundir import RunDir, read_json, sha256
from tests.helpers import wandb_files

SETTINGS = ["train.env_steps=65536", "eval.episodes_per_grade=16"]
GRADES = ["g1", "g2", "g3", "g4", "g5"]


def command_line(out, *argv):
    base = ["--task", "toy-reach", "--budget", "smoke", "--device", "cpu", "--seeds", "1", "--out", str(out)]
    return [*base, *argv, *SETTINGS]


def start(out, *argv):
    """The command, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "suite.run", *command_line(out, *argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("WANDB")},
    )


def execute(out, *argv):
    """What the command does, without the page at the end, which takes as long as the training."""
    (tracked,) = scheduler.execute(plan(arguments.parse(command_line(out, *argv))[0]), Local(["cpu"], 900), Display())
    return tracked


def run_dir(out, algo):
    (path,) = (out / suite.__version__ / "toy-reach" / algo).glob("none-r0-torch-smoke-*/seed0")
    return RunDir(path)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Runs of PPO and random without W&B, and at the same time PPO's with it: both folders, and what was printed."""
    plain, tracked = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("tracked")
    process = start(plain, "--algo", "ppo,random")
    assert execute(tracked, "--algo", "ppo", "--wandb", "offline").state == "complete"
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    return plain, tracked, text


def test_the_command_ends_with_the_table_and_the_page(first):
    _, _, text = first
    page = Path(text.splitlines()[-2])
    assert page.is_file()
    assert text.endswith("runs: 2; left out: 0\n")
    assert "toy-reach" in page.read_text()
    assert re.search(r"toy-reach +ppo +\d+ ", text)
    assert re.search(r"2/2 toy-reach random \S+ seed 0: complete", text)


def test_the_run_directory(first):
    out, _, _ = first
    run = run_dir(out, "ppo")
    result = run.read_result()
    assert result["success"]["g1"] > 0.9
    assert list(result["success"]) == list(result["episodes"]) == list(result["return"]) == GRADES
    assert result["episodes"]["g3"] == 16
    assert result["overrides"] == {"train.env_steps": 65536, "eval.episodes_per_grade": 16}
    assert result["env_steps"] == 65536
    assert result["wall_time_s"] > 0
    assert result["policy_sha256"] == sha256(run.policy)
    assert result["episodes_sha256"] == sha256(run.episodes)
    assert result["provenance"] == read_json(run.provenance)
    assert result["provenance"]["packages"]["torch"]
    assert result["command"].startswith("python -m suite.run --task toy-reach")
    assert yaml.safe_load(run.config.read_text())["train"]["env_steps"] == 65536
    assert read_json(run.status)["state"] == "complete"
    assert (run.path / "checkpoint" / "last.ckpt").is_file()

    rows = pq.read_table(run.episodes).to_pylist()
    assert len(rows) == 5 * 16
    expected = ("task", "algo", "grade", "cell", "difficulty", "seed", "env", "episode", "return", "length")
    expected += ("success_once", "success_at_end", "success", "termination", "engine")
    assert tuple(rows[0]) == (*expected, *(f"factor.{factor.name}" for factor in tasks.get("toy-reach").factors))
    assert {row["cell"] for row in rows} == {f"nominal/{grade}" for grade in GRADES}
    assert {row["seed"] for row in rows} == {2_000_003}
    progress = pq.read_table(run.progress).to_pylist()
    assert progress[-1]["env_steps"] == 65536
    known = [row["success_mean"] for row in progress if row["episodes"]]
    assert max(known) > 0.9 > 0.1 > known[0]  # of seeds 0 to 5 the last one is 0.92 or more
    assert {"wall_time_s", "steps_per_s", "episodes", "return_mean", "length_mean"} <= set(progress[0])
    assert pq.read_table(run.curriculum).column("difficulty_mean").to_pylist()[-1] == 0.5

    reference = run_dir(out, "random")
    assert reference.read_result()["success"]["g3"] < 0.2
    assert reference.read_result()["env_steps"] == 0
    assert not reference.progress.exists()


def test_equal_seeds_give_equal_episodes_and_policies(first):
    plain, tracked, _ = first
    one, two = run_dir(plain, "ppo"), run_dir(tracked, "ppo")
    assert sha256(one.policy) == sha256(two.policy)
    assert sha256(one.episodes) == sha256(two.episodes)


def test_evaluating_again_gives_the_same_bytes(first, tmp_path):
    run = run_dir(first[0], "ppo")
    done = subprocess.run(
        [sys.executable, "-m", "suite.evaluate", str(run.path), "--device", "cpu", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "episodes.parquet").read_bytes() == run.episodes.read_bytes()
    evaluated = read_json(tmp_path / "evaluation.json")
    assert evaluated["success"] == run.read_result()["success"]
    assert evaluated["engine"] == evaluated["trained_on"] == "torch"


def test_an_evaluation_that_had_ended_is_not_repeated(first, tmp_path):
    shutil.copytree(first[0] / suite.__version__, tmp_path / suite.__version__)
    run = run_dir(tmp_path, "ppo")
    before = run.read_result()
    run.result.unlink()
    assert execute(tmp_path, "--algo", "ppo").state == "complete"
    assert run.read_result()["evaluation_time_s"] == before["evaluation_time_s"]  # it would be another one
    run.result.unlink()
    run.episodes.write_bytes(b"half of them")
    assert execute(tmp_path, "--algo", "ppo").state == "complete"
    after = run.read_result()
    assert after["evaluation_time_s"] != before["evaluation_time_s"]
    assert after["episodes_sha256"] == before["episodes_sha256"] == sha256(run.episodes)


def test_what_wandb_writes_offline(first):
    _, out, _ = first
    run = run_dir(out, "ppo")
    (file,) = run.path.glob("wandb/offline-run-*/run-*.wandb")
    records = wandb_files.read(file)
    kinds = {record.WhichOneof("record_type") for record in records}
    assert {"run", "history", "summary", "artifact", "exit"} <= kinds
    (logged,) = [record.run for record in records if record.HasField("run")]
    assert logged.run_group == f"toy-reach/ppo/{run.path.parent.name}"
    assert set(logged.tags) == {"toy-reach", "ppo", "none", "r0", "torch", "smoke", f"suite-{suite.__version__}"}
    config = {item.key: json.loads(item.value_json) for item in logged.config.update}
    assert config["train"]["env_steps"] == 65536
    assert config["variant"] == run.path.parent.name
    history = wandb_files.history(records)
    curve = [row for row in history if "return_mean" in row]
    progress = pq.read_table(run.progress).to_pylist()
    assert [row["env_steps"] for row in curve] == [row["env_steps"] for row in progress if row["episodes"]]
    (evaluated,) = [row for row in history if "evaluation" in row]
    assert {"figures/success", "figures/learning_curve", "figures/curriculum"} <= set(evaluated)
    taught = [row for row in history if "curriculum/difficulty_mean" in row]
    rows = pq.read_table(run.curriculum).to_pylist()
    assert [row["env_steps"] for row in taught] == [row["env_steps"] for row in rows]
    (table,) = run.path.glob("wandb/offline-run-*/files/media/table/evaluation_*.table.json")
    table = json.loads(table.read_text())
    assert [row[1] for row in table["data"]] == GRADES
    by_column = dict(zip(table["columns"], table["data"][0], strict=True))
    assert by_column["success"] == run.read_result()["success"]["g1"]
    assert by_column["low"] <= by_column["success"] <= by_column["high"]
    summary = {
        item.key: json.loads(item.value_json) for r in records if r.HasField("summary") for item in r.summary.update
    }
    assert summary["success/g1"] == run.read_result()["success"]["g1"]
    assert 0 < summary["success/mean"] <= 1
    artifacts = [record.artifact for record in records if record.HasField("artifact")]
    (policy,) = [artifact for artifact in artifacts if artifact.type == "policy"]
    assert {entry.path for entry in policy.manifest.contents} == {"policy.safetensors", "config.yaml"}
    (evidence,) = [artifact for artifact in artifacts if artifact.type == "result"]
    assert {"result.json", "provenance.json", "episodes.parquet"} <= {e.path for e in evidence.manifest.contents}


def test_reproduce(first, tmp_path):
    """The run's settings come from its result alone, and the outcome is the same to the last bit."""
    run = run_dir(first[0], "ppo")
    done = subprocess.run(
        [sys.executable, "-m", "suite.reproduce", str(run.result), "--out", str(tmp_path), "--device", "cpu"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "reproduced: policy and episodes are equal in every bit" in done.stdout
    again = run_dir(tmp_path, "ppo")
    assert again.policy.read_bytes() == run.policy.read_bytes()
    assert read_json(again.path / "reproduction.json")["bitwise"]
