"""Commands on any words and on any damaged run: exit code 0, 1 or 2, one line for a mistake, nothing elsewhere."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf.errors import OmegaConfBaseException

import suite
import tasks
from baselines.policy_file import export_reference
from leaderboard import submit
from suite import evaluate, reproduce, run, status
from suite.cli import arguments
from suite.errors import UserError, exit_code
from suite.execute import run_one
from suite.plan import config
from suite.plan.matrix import plan
from suite.runs import evaluation
from suite.runs.rundir import RunDir
from tasks.spec import GRADES

TOY = ["--task", "toy-reach", "--algo", "zero", "--budget", "smoke", "--device", "cpu", "--wandb", "disabled"]


@pytest.fixture(autouse=True, scope="module")
def nothing_starts():
    def refuse(*args, **options):
        raise AssertionError("a worker was started")

    def ends(*args, **options):
        raise run_one.RunFailed("nothing is started here")

    def no_simulation(*args, **options):
        raise evaluation.EvaluationError("nothing is started here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("suite.execute.scheduler.execute", refuse)
        patch.setattr("suite.execute.process.start", refuse)
        patch.setattr(reproduce, "work", ends)
        patch.setattr(evaluation, "evaluate", no_simulation)
        yield


def outcome(command, argv):
    """Exit code and standard error of a command; an exception that it lets through fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = exit_code(command.__name__, lambda: command.main([str(word) for word in argv]))
    return code, err.getvalue(), out.getvalue()


def check(code, err):
    assert code in (0, 1, 2)
    assert code == 0 or len(err) < 4000
    if code == 2:
        assert len(err.splitlines()) == 1, err
    assert all(character.isprintable() or character == "\n" for character in err), ascii(err)


def words(**more):
    """Command-line arguments: no zero byte can be in one."""
    return st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=20, **more)


NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(-4, 70).map(str),
    st.floats().map(str),
    st.sampled_from(["1e400", ".inf", "-.inf", ".nan", "010", "1:30", "0x40", "1_28", "9" * 5000, "1" + "0" * 30, "²"]),
)
VALUES = st.one_of(
    NUMBERS,
    words(),
    st.sampled_from(
        ["null", "~", "true", "on", "", "???", "${seed}", '"\\x24{oc.env:HOME}"', "a${b}", "{a: 1}", "[" * 5000]
    ),
    st.lists(NUMBERS, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
    st.sampled_from(["[[1]]", "[64", "]", "[,]", "!!python/object:os.system", "&a [*a]", "relu", "'relu'", "[64, 64]"]),
)
KEYS = st.one_of(
    st.sampled_from(config.known_settings()),
    st.sampled_from(["agent", "eval", "seed", "train.init", "agent.num_envs", "a..b", "a[0]", "multi.tasks", "device"]),
    words(),
)
ITEMS = st.builds("{}={}".format, KEYS, VALUES)
OPTIONS = {
    "--task": st.sampled_from(["toy-reach", "toy-line", "toy-reach+toy-line", "cartpole-balance", "a+a", "all+", ""])
    | words(),
    "--algo": st.sampled_from(["ppo", "sac", "td3", "redq", "dqn", "zero", "random,ppo", "PPO", ""]) | words(),
    "--curriculum": st.sampled_from(["none", "all", "adr", "plr,spdl", "ADR"]) | words(),
    "--randomization": st.sampled_from(["r0", "r3", "r0,r1", "R1"]) | words(),
    "--physics": st.sampled_from(["physx", "newton_mjwarp", "mujoco"]) | words(),
    "--budget": st.sampled_from(["smoke", "full", "auto"]) | words(),
    "--device": st.sampled_from(["cpu", "auto", "cuda:0", "cuda:99999999999999999999"]) | words(),
    **dict.fromkeys(("--seeds", "--workers", "--retries", "--watchdog", "--jobs-per-gpu"), NUMBERS | words()),
    "--init": words(),
    "--out": words() | st.sampled_from(["", "x" * 300, "x/" * 2500, "a${b}", "/proc/x", "\udcff", "a/../b"]),
    "--wandb": st.sampled_from(["offline", "online"]) | words(),
    "--launcher": words().filter(lambda text: text != "ray"),
    "--ray-address": words(),
    "--store": words(),
}


@pytest.fixture(scope="module")
def empty():
    """A folder that commands are called in and that has to stay empty."""
    before, folder = Path.cwd(), Path(tempfile.mkdtemp(prefix="gradus-fuzz-"))
    os.chdir(folder)
    yield folder
    os.chdir(before)
    shutil.rmtree(folder)


@given(
    items=st.lists(ITEMS, max_size=4),
    algo=st.sampled_from(["ppo", "sac", "td3", "redq", "dqn", "a2c", "npg", "zero"]),
    curriculum=st.sampled_from(["none", "uniform", "staged", "reverse", "adr", "plr", "alp_gmm", "spdl"]),
)
def test_fuzz_overrides(empty, items, algo, curriculum):
    changed = [*TOY, "--algo", algo, "--curriculum", curriculum, "--dry-run", "--out", "runs"]
    code, err, _ = outcome(run, [*changed, *items])
    check(code, err)
    assert not list(empty.iterdir())


@given(
    options=st.dictionaries(st.sampled_from(list(OPTIONS)), st.none(), max_size=3).flatmap(
        lambda chosen: st.fixed_dictionaries({name: OPTIONS[name] for name in chosen})
    ),
    rest=st.lists(words(), max_size=2),
)
def test_fuzz_options(empty, options, rest):
    given_options = dict(zip(TOY[::2], TOY[1::2], strict=True)) | {"--out": "runs"} | options
    argv = [word for pair in given_options.items() for word in pair]
    if any(word in ("-h", "--help") for word in rest):
        return
    code, err, _ = outcome(run, [*argv, "--dry-run", *rest])
    check(code, err)
    assert not list(empty.iterdir())


@cache
def zero_policy():
    with tempfile.TemporaryDirectory() as folder:
        export_reference("zero", tasks.get("toy-reach"), Path(folder) / "policy.safetensors")
        return (Path(folder) / "policy.safetensors").read_bytes()


def complete_run(out):
    """A run directory that looks complete, without a training or an evaluation; and a plan that names it."""
    request, _, _ = arguments.parse([*TOY, "--out", str(out)])
    (job,) = plan(request)
    folder = job.run.path
    folder.mkdir(parents=True)
    config.save(job.config("cpu"), job.run)
    (folder / "policy.safetensors").write_bytes(zero_policy())
    (folder / "episodes.parquet").write_bytes(b"nothing")
    digest = hashlib.sha256(zero_policy()).hexdigest()
    provenance = {"ended": "2026-01-01T00:00:00+00:00", "cpu": "Example CPU", "gpus": []}
    result = {key: job.setting[key] for key in ("suite_version", "task", "algo", "randomization", "engine", "budget")}
    result |= {"schema": 1, "curriculum": "none", "overrides": {}, "seed": 0, "env_steps": 0, "wall_time_s": 0.0}
    result |= {"success": dict.fromkeys(GRADES, 0.5), "episodes": dict.fromkeys(GRADES, 2), "device": "Example CPU"}
    result |= {"policy_sha256": digest, "episodes_sha256": digest, "provenance": provenance, "command": "a command"}
    result |= {"evaluation_time_s": 1.0, "num_envs": 1, "cells": {"all/mixed": {"success": 0.5, "episodes": 2}}}
    live = {"state": "complete", "message": "", "env_steps": 0, "total_env_steps": 0, "steps_per_s": 1.0, "eta_s": None}
    texts = {"result.json": result, "provenance.json": provenance, "status.json": live}
    for name, content in texts.items():
        (folder / name).write_text(json.dumps(content))
    plans = out / suite.__version__ / ".plans"
    plans.mkdir()
    (plans / "a.json").write_text(json.dumps({"command": "a command", "runs": [[str(folder.relative_to(out)), 0]]}))
    return folder


def test_a_run_that_is_whole_is_read_by_every_command(tmp_path):
    folder = complete_run(tmp_path / "runs")
    for name, code in (("status", 0), ("dry-run", 0), ("reproduce", 1), ("evaluate", 1), ("submit", 2)):
        found = outcome(*COMMANDS[name](tmp_path, folder))
        assert found[0] == code, found
        assert ("nothing is started here" in found[1]) == (name in ("reproduce", "evaluate"))


COMMANDS = {
    "status": lambda root, folder: (status, [root / "runs"]),
    "status --json": lambda root, folder: (status, [root / "runs", "--json"]),
    "dry-run": lambda root, folder: (run, [*TOY, "--dry-run", "--out", root / "runs"]),
    "reproduce": lambda root, folder: (reproduce, [folder, "--device", "cpu", "--out", root / "out"]),
    "reproduce FILE": lambda root, folder: (
        reproduce,
        [folder / "result.json", "--device", "cpu", "--out", root / "out"],
    ),
    "evaluate": lambda root, folder: (evaluate, [folder, "--device", "cpu", "--out", root / "out"]),
    "submit": lambda root, folder: (
        submit,
        [
            folder,
            "--out",
            root / "out.zip",
            "--division",
            "open",
            *("--title", "t", "--submitter", "s", "--contact", "c"),
        ],
    ),
}
PLAN = "../../../../.plans/a.json"
FILES = ("config.yaml", "result.json", "status.json", "provenance.json", PLAN, "policy.safetensors", "episodes.parquet")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${a}", "???", "../..", "\x1b["]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def changed_value(draw, content):
    """The content with a value somewhere replaced by another, or a key taken away or added."""
    content = json.loads(json.dumps(content))
    node = content
    while True:
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        if not keys:
            return draw(JSON)
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and node[key] and draw(st.booleans()):
            node = node[key]
            continue
        if isinstance(node, dict) and draw(st.integers(0, 4)) == 0:
            del node[key]
        else:
            node[key] = draw(JSON)
        return content


@st.composite
def damage(draw, file):
    """Changes `file`, a path; returns nothing."""
    kind = draw(
        st.sampled_from(["value"] * 8 + ["bytes", "cut", "fifo", "folder", "zeros", "loop", "gone", "deep", "utf8"])
    )
    data = file.read_bytes()
    if kind == "value" and file.suffix in (".json", ".yaml"):
        content = json.loads(data) if file.suffix == ".json" else yaml.safe_load(data)
        content = draw(changed_value(content))
        text = json.dumps(content) if file.suffix == ".json" else yaml.safe_dump(content, allow_unicode=False)
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        return
    if kind in ("bytes", "value"):
        file.write_bytes(draw(st.binary(max_size=64)))
    elif kind == "cut":
        file.write_bytes(data[: draw(st.integers(0, len(data)))])
    elif kind == "deep":
        file.write_bytes(data.rstrip()[:-1] + b"[" * 100_000)
    elif kind == "utf8":
        at = draw(st.integers(0, len(data)))
        file.write_bytes(data[:at] + b"\xff" + data[at:])
    else:
        file.unlink()
        if kind == "fifo":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        elif kind in ("zeros", "loop"):
            file.symlink_to("/dev/zero" if kind == "zeros" else file.name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of runs, and where its run is in it."""
    runs = tmp_path_factory.mktemp("whole") / "runs"
    return runs, complete_run(runs).relative_to(runs)


@given(data=st.data())
def test_fuzz_damaged_runs(whole, data):
    root = Path(tempfile.mkdtemp(prefix="gradus-fuzz-"))
    try:
        shutil.copytree(whole[0], root / "runs")
        folder = root / "runs" / whole[1]
        file = folder / data.draw(st.sampled_from(FILES))
        data.draw(damage(file))
        command, argv = COMMANDS[data.draw(st.sampled_from(list(COMMANDS)))](root, folder)
        code, err, out = outcome(command, argv)
        check(code, err)
        assert "\x1b" not in out
        assert {entry.name for entry in root.iterdir()} <= {"runs", "out", "out.zip"}
        assert [entry.name for entry in (root / "runs").iterdir()] == [suite.__version__]
    finally:
        shutil.rmtree(root)


@given(algo=st.sampled_from(["zero", "ppo", "another"]), agent=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
@example(algo="zero", agent={"": None})
@example(algo="another", agent={"": None})
@example(algo="another", agent={"gamma": 0.9})
@example(algo="ppo", agent={"": None})
@example(algo="ppo", agent={})
@example(algo="zero", agent={})
def test_fuzz_settings_of_an_agent(whole, algo, agent):
    """The agent of a run has the settings of its algorithm and no other: a reference, and what others trained, none."""
    run = RunDir(whole[0] / whole[1])
    content = config.read(run) | {"algo": algo, "agent": agent}
    try:
        read = config.typed(content)
    except (UserError, OmegaConfBaseException, TypeError, ValueError):  # what `config.load` says in one line
        assert algo == "ppo" or agent
    else:
        assert (algo == "ppo", read.agent) == (False, {})
