"""Tasks, a factor and an engine of another package: listed, built, trained, evaluated, shown.

What each takes in the example plugin, beside its line in `pyproject.toml`:

| part | files | lines |
|---|---|---|
| task with a known robot (`franka-touch`) | 2 | 35 of declaration, 57 of scene and functions |
| task without a simulator (`toy-sticky`) | 1 | 13 |
| factor with an effect of its own (`dead_zone`) | 2 | 15 and 10 |
| engine without a simulator (`explicit_euler`) | 2 | 7 and 6 |
"""

import json
import subprocess
import sys

import pytest

from tests.helpers.plugin import EXAMPLE, environment

TRAIN = ("--device", "cpu", "train.env_steps=8192", "train.checkpoints=2")
EULER = ("--algo", "ppo", "--physics", "explicit_euler")
SOURCE = EXAMPLE / "src" / "gradus_plugin_example"


@pytest.fixture(scope="session")
def run(command, tmp_path_factory):
    """The run directory of a training on the task, the engine and the factor of the plugin."""
    out = tmp_path_factory.mktemp("runs")
    asked = ["--task", "toy-sticky", "--physics", "explicit_euler", "--randomization", "r2", "--budget", "smoke"]
    code, _, errors = command("suite.run", *asked, *TRAIN, "--algo", "ppo", "--out", out)
    assert code == 0, errors
    (result,) = out.rglob("result.json")
    return result.parent


def test_the_counted_lines_are_right():
    told = [line.split("|")[3] for line in __doc__.splitlines() if "`" in line and line.startswith("|")]
    names = [("touch", "touch_mdp"), ("sticky",), ("dead_zone", "dead_zone_effect"), ("explicit", "explicit_step")]
    for text, modules in zip(told, names, strict=True):
        counted = [len((SOURCE / f"{name}.py").read_text(encoding="utf-8").splitlines()) for name in modules]
        assert counted == [int(word) for word in text.split() if word.isdigit()]


def test_parts_of_a_package_are_listed(command):
    code, printed, errors = command("suite.list", "--json")
    assert code == 0, errors
    found = {task["name"]: task for task in json.loads(printed)["tasks"]}
    assert found["toy-sticky"]["package"] == found["franka-touch"]["package"] == "gradus-plugin-example 0.1.0"
    assert found["ant-run"]["package"] is None
    assert "dead_zone" in [factor["name"] for factor in found["franka-touch"]["factors"]]


def test_a_run_with_parts_of_a_package_is_complete(run):
    result = json.loads((run / "result.json").read_text())
    assert (result["task"], result["engine"], result["randomization"]) == ("toy-sticky", "explicit_euler", "r2")
    assert run.parts[-3:-1] == ("ppo", run.parts[-2])
    assert "explicit_euler" in run.parts[-2]


def test_the_same_policy_is_evaluated_again(command, run):
    code, printed, errors = command("suite.evaluate", run, "--device", "cpu")
    assert code == 0, errors
    assert "the episodes are the same as those recorded by the run" in printed


def test_the_page_shows_the_run(command, run, tmp_path):
    code, _, errors = command("leaderboard.build", run.parents[3], "--out", tmp_path / "site")
    assert code == 0, errors
    assert "toy-sticky" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_an_engine_without_a_simulator_steps_no_robot(command, tmp_path):
    code, _, errors = command("suite.run", "--task", "ant-run", *EULER, "--out", tmp_path)
    assert (code, errors.count("\n")) == (2, 1), errors
    assert "task ant-run does not run on explicit_euler" in errors


def test_a_name_that_an_engine_is_also_called_by_is_refused_with_the_right_one(command, tmp_path):
    code, _, errors = command(
        "suite.run", "--task", "toy-reach", "--algo", "ppo", "--physics", "euler", "--out", tmp_path
    )
    assert code == 2
    assert "explicit_euler" in errors


STEP = """
import os, sys
import torch, tasks
env = tasks.build(tasks.get("franka-touch"), 4, "cpu", sys.argv[1], difficulty=0.5)
row = torch.tensor([factor.nominal for factor in env.spec.factors])
row[-1] = 2.0  # beyond all actions: nothing is done
env.set_sampler(lambda env_ids: (torch.full((len(env_ids),), 0.5), row.repeat(len(env_ids), 1)))
env.reset(0)
for _ in range(5):
    obs, reward, *_ = env.step(torch.ones(4, 7))
print("SEEN", tuple(obs.shape), bool(obs.isfinite().all()), bool((obs[:, -7:] == 0).all()), flush=True)
os._exit(0)
"""


@pytest.mark.sim
@pytest.mark.parametrize("engine", ["ovphysx", "newton_mjwarp"])
def test_a_robot_task_of_a_package_is_built_and_stepped(site, tmp_path, engine):
    script = tmp_path / "step.py"
    script.write_text(STEP, encoding="utf-8")
    where = environment(site) | {"OMNI_KIT_ACCEPT_EULA": "YES", "GRADUS_PHYSX_THREADS": "0"}
    done = subprocess.run([sys.executable, script, engine], capture_output=True, text=True, env=where, timeout=550)
    assert "SEEN (4, 24) True True" in done.stdout, done.stderr[-3000:]
