"""Run directories behind an URL: what arrives, in which order, and what another machine can continue from."""

import itertools
import os

import pytest

from suite.execute.store import Store
from suite.runs.rundir import FILES, RunDir

NAME = "0.1.0/toy-reach/ppo/none-r0-torch-smoke/seed0"


def filled(folder, content="first"):
    run = RunDir(folder)
    for name in FILES:
        if name not in ("result", "failures"):
            run.file(name).parent.mkdir(parents=True, exist_ok=True)
            replace(run.file(name), content)
    return run


def replace(file, content):
    draft = file.with_name(".draft")
    draft.write_text(content)
    os.replace(draft, file)


def arrived(tmp_path):
    root = tmp_path / "store" / NAME
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_whatever_a_run_continues_from_reaches_the_store(tmp_path):
    run, store = filled(tmp_path / "run"), Store(f"file://{tmp_path / 'store'}")
    store.push_progress(run, NAME)
    assert arrived(tmp_path) == {file.path for file in FILES.values() if file.resume}
    assert "curve.parquet" in arrived(tmp_path)
    assert not [file for file in os.listdir(run.path) if file.startswith(".")]
    again = RunDir(tmp_path / "again")
    store.pull(NAME, again.path)
    assert again.checkpoint.joinpath("last.ckpt").read_text() == again.curve.read_text() == "first"


@pytest.mark.parametrize("method", ["push_progress", "push"])
def test_a_push_that_is_cut_off_leaves_no_checkpoint_without_its_tables(tmp_path, monkeypatch, method):
    """Cut off after every number of files."""
    parts = {file.path for file in FILES.values() if file.resume == "part"}
    marks = {file.path for file in FILES.values() if file.resume == "mark"}
    for room in itertools.count():
        run, store = filled(tmp_path / str(room) / "run"), Store(f"file://{tmp_path / str(room) / 'store'}")
        left = iter(range(room))
        put = store._put
        monkeypatch.setattr(store, "_put", lambda *args, left=left, put=put: next(left) >= 0 and put(*args))
        try:
            getattr(store, method)(run, NAME)
        except StopIteration:
            found = arrived(tmp_path / str(room))
            assert parts <= found or not marks & found
            continue
        break
    assert room > len(parts) + len(marks) - 1


def test_the_checkpoint_is_not_newer_than_the_tables_that_go_with_it(tmp_path, monkeypatch):
    """The training writes on while files are uploaded: the next tables, and the next checkpoint."""
    run, store = filled(tmp_path / "run"), Store(f"file://{tmp_path / 'store'}")
    put = store._put

    def slow(file, *args):
        put(file, *args)
        for name in ("progress", "curriculum", "curve", "checkpoint"):
            replace(run.file(name), "second")

    monkeypatch.setattr(store, "_put", slow)
    store.push_progress(run, NAME)
    monkeypatch.undo()
    root = RunDir(tmp_path / "store" / NAME)
    assert root.file("checkpoint").read_text() == "first"
    store.push_progress(run, NAME)  # the second one has not been there
    assert {root.file(name).read_text() for name in ("progress", "curve", "checkpoint")} == {"second"}
