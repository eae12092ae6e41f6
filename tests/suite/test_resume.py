"""Trainings that go on from a checkpoint whose tables are not what they should be."""

import os
import shutil

import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from baselines.learner.base import Learner
from suite.cli import arguments
from suite.plan.matrix import plan
from suite.runs import grade_curve, recorder, training, worker
from suite.runs.rundir import RunDir, sha256
from tests.helpers.trainings import SMALL, Silent

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = {"toy-reach": ["train.curve=true"], "toy-line+toy-reach": []}


def prepared(out, task):
    argv = ["--task", task, "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--wandb", "disabled"]
    (job,) = plan(arguments.parse([*argv, "--out", str(out), *SMALL, *SETTINGS[task]])[0])
    job.run.path.mkdir(parents=True, exist_ok=True)
    return job


def train(out, task):
    job = prepared(out, task)
    training.train(job.config("cpu"), job.run, "cpu", Silent())
    return job.run


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """By task: the folder of a training that was interrupted after its second checkpoint, and of a whole one."""
    folders = {}
    for task in SETTINGS:
        whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
        train(whole, task)
        iterate = Learner.iterate

        def interrupt(learner, iterate=iterate):
            if learner.env_steps >= 5000:
                raise KeyboardInterrupt
            return iterate(learner)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Learner, "iterate", interrupt)
            with pytest.raises(KeyboardInterrupt):
                train(parts, task)
        folders[task] = parts, whole
    return folders


def remove(file):
    file.unlink()


def cut(file):
    file.write_bytes(file.read_bytes()[:-30])


def empty(file):
    file.write_bytes(b"")


def text(file):
    pq.write_table(pq.read_table(file).cast(_texts(file)), file)


def _texts(file):
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in pq.read_schema(file).names])


def pipe(file):
    file.unlink()
    os.mkfifo(file)


def early(file):
    """As a push that was cut off leaves it: of a moment before the checkpoint."""
    table = pq.read_table(file)
    pq.write_table(table.slice(0, table.column("env_steps").to_pylist().index(4096)), file)


@pytest.mark.parametrize(
    ("task", "table", "damage", "said"),
    [
        ("toy-reach", "progress.parquet", remove, "is missing"),
        ("toy-reach", "progress.parquet", early, "ends before the checkpoint"),
        ("toy-reach", "curriculum.parquet", cut, "is damaged"),
        ("toy-reach", "curve.parquet", remove, "is missing"),
        ("toy-reach", "curve.parquet", early, "ends before the checkpoint"),
        ("toy-line+toy-reach", "tasks/toy-line/curriculum.parquet", cut, "is damaged"),
        ("toy-line+toy-reach", "tasks/toy-reach/progress.parquet", early, "ends before the checkpoint"),
    ],
)
def test_a_checkpoint_without_its_tables_starts_afresh(interrupted, tmp_path, capsys, task, table, damage, said):
    parts, whole = interrupted[task]
    shutil.copytree(parts, tmp_path, dirs_exist_ok=True)
    run = prepared(tmp_path, task).run
    damage(run.path / table)
    assert train(tmp_path, task).policy.exists()
    assert f"starting afresh: {table.rpartition('/')[2]} {said}" in capsys.readouterr().out
    same = RunDir(whole / run.path.relative_to(tmp_path))
    assert sha256(run.policy) == sha256(same.policy)
    for name in ("progress.parquet", table):
        steps = [pq.read_table(r.path / name).column("env_steps").to_pylist() for r in (run, same)]
        assert steps[0] == steps[1]


@pytest.mark.parametrize("damage", [remove, cut, empty, text, pipe, early])
@pytest.mark.parametrize("table", ["progress", "curriculum", "curve"])
def test_damaged_tables_are_found(interrupted, tmp_path, table, damage):
    parts, _ = interrupted["toy-reach"]
    shutil.copytree(parts, tmp_path, dirs_exist_ok=True)
    file = prepared(tmp_path, "toy-reach").run.file(table)
    look = grade_curve.read if table == "curve" else recorder.check
    look(file, 4096)
    damage(file)
    with pytest.raises(recorder.TableError, match=file.name):
        look(file, 4096)


def test_tables_of_a_later_moment_go_back_to_the_checkpoints(interrupted, tmp_path, capsys):
    parts, whole = interrupted["toy-reach"]
    shutil.copytree(parts, tmp_path, dirs_exist_ok=True)
    run = prepared(tmp_path, "toy-reach").run
    same = RunDir(whole / run.path.relative_to(tmp_path))
    for name in ("progress", "curriculum", "curve"):
        shutil.copy(same.file(name), run.file(name))
    train(tmp_path, "toy-reach")
    assert "continuing from the checkpoint at 4096 env steps" in capsys.readouterr().out
    assert sha256(run.policy) == sha256(same.policy)
    for name in ("progress", "curve"):
        steps = [pq.read_table(r.file(name)).column("env_steps").to_pylist() for r in (run, same)]
        assert steps[0] == steps[1]


def test_a_disk_that_does_not_answer_loses_no_training(interrupted, tmp_path, monkeypatch):
    """Trying again may help, starting afresh would not."""
    shutil.copytree(interrupted["toy-reach"][0], tmp_path, dirs_exist_ok=True)
    run = prepared(tmp_path, "toy-reach").run
    read_bytes = type(run.path).read_bytes

    def fails(path):
        if path.name == "progress.parquet":
            raise OSError(5, "Input/output error")
        return read_bytes(path)

    monkeypatch.setattr(type(run.path), "read_bytes", fails)
    with pytest.raises(OSError, match="Input/output error"):
        train(tmp_path, "toy-reach")
    monkeypatch.undo()
    assert pq.read_table(run.progress).column("env_steps").to_pylist()[-1] == 4096


@pytest.mark.parametrize(("task", "file"), [("toy-reach", ""), ("toy-line+toy-reach", "tasks/toy-reach")])
def test_a_damaged_policy_is_exported_again(interrupted, tmp_path, capsys, task, file):
    shutil.copytree(interrupted[task][1], tmp_path, dirs_exist_ok=True)
    job = prepared(tmp_path, task)
    before = sha256(job.run.policy)
    assert worker._trained(job.config("cpu"), job.run)
    cut(job.run.path / file / "policy.safetensors")
    assert not worker._trained(job.config("cpu"), job.run)
    assert "making the policy again" in capsys.readouterr().out
    assert (job.run.path / "policy.damaged").exists()
    train(tmp_path, task)
    assert "continuing from the checkpoint at 8192 env steps" in capsys.readouterr().out
    assert sha256(job.run.policy) == before
    assert worker._trained(job.config("cpu"), job.run)


def test_a_damaged_policy_that_was_adopted_is_one_line(interrupted, tmp_path):
    shutil.copytree(interrupted["toy-reach"][1], tmp_path, dirs_exist_ok=True)
    job = prepared(tmp_path, "toy-reach")
    job.run.policy.write_bytes(b"")
    with pytest.raises(worker.RunError, match="adopt it again"):
        worker._trained(OmegaConf.merge(job.config("cpu"), {"algo": "mine"}), job.run)
    assert job.run.policy.exists()


def test_whatever_reaches_the_store_is_enough_for_another_machine(interrupted, tmp_path, capsys):
    from suite.execute.store import Store

    parts, whole = interrupted["toy-reach"]
    run = prepared(parts, "toy-reach").run
    store, name = Store(f"file://{tmp_path / 'store'}"), run.path.relative_to(parts).as_posix()
    store.push_progress(run, name)
    other = prepared(tmp_path, "toy-reach").run
    store.pull(name, other.path)
    train(tmp_path, "toy-reach")
    assert "continuing from the checkpoint at 4096 env steps" in capsys.readouterr().out
    same = RunDir(whole / name)
    assert sha256(other.policy) == sha256(same.policy)
    assert pq.read_table(other.curve).column("success").equals(pq.read_table(same.curve).column("success"))
