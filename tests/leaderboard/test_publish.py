"""Runs copied into the folder that is published: which, what of them, and that the board stays the same."""

import json
import os
import shutil
from pathlib import Path

import pytest

from leaderboard import curricula, publish, submit
from leaderboard.board import board
from leaderboard.data import runs
from leaderboard.submissions import bundle
from suite import reproduce
from suite.errors import UserError, exit_code
from suite.runs.rundir import sha256
from tests.helpers.synthetic_runs import write_run, write_status, write_unfinished

PLACE = "runs/0.1.0/cartpole-balance/ppo/none-r0-ovphysx-smoke"
ALWAYS = {"result.json", "config.yaml", "provenance.json", "episodes.parquet"}


def edit_result(folder, **fields):
    file = folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def with_policy(out):
    return sorted(file.parent.relative_to(out / "runs/0.1.0").as_posix() for file in out.rglob("policy.safetensors"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two seeds of PPO, the second the better, with all that a run may have, and two of a reference policy."""
    out = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        folder = write_run(out, seed=seed, skill=9 * seed, episodes=8, engines=("newton_mjwarp",), curve=True)
        (folder / "checkpoint").mkdir()
        for name in ("checkpoint/last.ckpt", "worker.log", "failures.json", "evaluations/newton_mjwarp/evaluate.log"):
            (folder / name).write_text("{}")
        write_run(out, algo="random", seed=seed, episodes=8, trained=False)
    return out


@pytest.fixture
def copy(source, tmp_path):
    """A copy of these runs, to be changed."""
    shutil.copytree(source, tmp_path / "source")
    return tmp_path / "source"


def test_what_is_copied(source, tmp_path, capsys):
    out = tmp_path / "new" / "published"
    assert publish.main([str(source), "--out", str(out)]) == 0
    said = capsys.readouterr()
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    assert said.out == f"{out}: 4 runs copied, 3 with policy, {size / 1e6:.1f} MB\n"
    assert said.err == ""
    tables = {"progress.parquet", "curriculum.parquet", "curve.parquet"}
    other = {f"evaluations/newton_mjwarp/{name}" for name in bundle.EVALUATION_FILES}
    copied = [files_of(out / PLACE / f"seed{seed}") - {"policy.safetensors"} for seed in range(2)]
    assert copied == [ALWAYS | tables | other] * 2
    assert files_of(out / PLACE.replace("ppo", "random") / "seed1") == ALWAYS | {"policy.safetensors"}
    for file in (path for path in out.rglob("*") if path.is_file()):
        assert sha256(file) == sha256(source / file.relative_to(out / "runs"))
    assert list(out.parent.iterdir()) == [out]
    assert list(out.iterdir()) == [out / "runs"]


def test_the_policy_of_the_best_seed_is_copied(tmp_path):
    for seed, skill in enumerate((0, 9, 0)):
        write_run(tmp_path / "a", seed=seed, skill=skill, episodes=8)
        write_run(tmp_path / "b", seed=seed, skill=99, episodes=8)  # always succeeds: seeds tie
        write_run(tmp_path / "b", algo="random", seed=seed, trained=False, episodes=8)
    for folder in tmp_path.glob("b/0.1.0/*/ppo/*"):
        shutil.copytree(folder, tmp_path / "c/0.1.0/cartpole-balance/ppo" / folder.name)
    for seed in range(3):
        write_run(tmp_path / "c", seed=seed, budget="full", skill=-9 if seed else 9, episodes=8)
    expected = {
        "a": ["cartpole-balance/ppo/none-r0-ovphysx-smoke/seed1"],
        "b": [
            "cartpole-balance/ppo/none-r0-ovphysx-smoke/seed0",
            *(f"cartpole-balance/random/none-r0-ovphysx-smoke/seed{seed}" for seed in range(3)),
        ],
        "c": [f"cartpole-balance/ppo/none-r0-ovphysx-{budget}/seed0" for budget in ("full", "smoke")],
    }
    for name, kept in expected.items():
        assert publish.publish([tmp_path / name], tmp_path / f"of-{name}").policies == len(kept)
        assert with_policy(tmp_path / f"of-{name}") == kept


def test_the_board_is_that_of_the_source(tmp_path):
    source, out = tmp_path / "source", tmp_path / "published"
    for task in ("cartpole-balance", "franka-reach"):
        for seed in range(5):
            write_run(source, task, seed=seed, episodes=16, engines=("newton_mjwarp",), curve=True)
            write_run(source, task, seed=seed, episodes=16, curriculum="uniform", curve=True, perturbed=True)
    write_run(source, "cartpole-balance", "random", trained=False, episodes=16)
    # A run for two tasks stands for the run of each of them.
    joint = source / "0.1.0" / "cartpole-balance+franka-reach" / "sac" / "none-r0-ovphysx-smoke-12345678" / "seed0"
    for task in ("cartpole-balance", "franka-reach"):
        part = write_run(tmp_path / "parts", task, "sac", episodes=16)
        edit_result(part, overrides={"multi.tasks": joint.parents[2].name})
        shutil.copytree(part, joint / "tasks" / task)
    write_status(joint, "complete", 1, 1)
    (joint / "result.json").write_text("{}")
    assert publish.publish([source], out).runs == 23
    before, after = (board.load(folder) for folder in (source, out))
    assert not after.skipped
    for name in ("entry", "rank", "unranked", "score", "grades", "seeds", "versus"):  # scores may be NaN, so their text
        assert [str(getattr(row, name)) for row in before.ranking] == [str(getattr(row, name)) for row in after.ranking]
    assert len(before.ranking) == 4
    sides = [[(str(r.own.mean), r.change) for r in found.engines] for found in (before, after)]
    assert sides[0] == sides[1]
    assert curricula.load(out, 0.5)
    assert str(curricula.load(source, 0.5)) == str(curricula.load(out, 0.5))  # arrays have no truth
    assert {run.entry.overrides != "{}" for run in after.runs if run.entry.algo == "sac"} == {True}


def test_a_run_is_replaced_whole_and_others_stay(copy, tmp_path):
    out = tmp_path / "published"
    publish.publish([copy], out)
    (out / PLACE / "seed0" / "old.txt").write_text("of an earlier version")
    (out / "manifest.json").write_text("{}")
    one = copy.joinpath(*PLACE.split("/")[1:], "seed0")
    shutil.rmtree(one / "evaluations")
    edit_result(one, wall_time_s=1.5)
    before = files_of(out)
    policy = {f"{PLACE}/seed0/policy.safetensors"}
    assert publish.publish([one], out).runs == 1  # the run directory itself
    gone = {f"evaluations/newton_mjwarp/{name}" for name in bundle.EVALUATION_FILES} | {"old.txt"}
    after = before - {f"{PLACE}/seed0/{name}" for name in gone}
    assert files_of(out) == after | policy  # alone, it is the best seed
    assert json.loads((out / PLACE / "seed0" / "result.json").read_text())["wall_time_s"] == 1.5
    assert publish.publish([out], out).runs == 4  # onto itself, where it is not
    assert files_of(out) == after


def test_what_is_damaged_is_left_out_with_the_reason(copy, tmp_path, capsys):
    seeds = copy.joinpath(*PLACE.split("/")[1:])
    (seeds / "seed0" / "curve.parquet").write_bytes(b"no table")
    (seeds / "seed0" / "evaluations" / "newton_mjwarp" / "episodes.parquet").unlink()
    (seeds / "seed1" / "episodes.parquet").write_bytes(b"no table")
    references = copy.joinpath(*PLACE.replace("ppo", "random").split("/")[1:])
    (references / "seed0" / "config.yaml").unlink()
    write_unfinished(copy, "failed", "NaN")
    shutil.copytree(references / "seed1", tmp_path / "again" / "seed1")
    out = tmp_path / "published"
    assert publish.main([str(copy), str(tmp_path / "again"), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert f"{out}: 2 runs copied, 2 with policy" in said.out
    lines = said.err.splitlines()
    assert len(lines) == 6
    for path, reason in (
        (seeds / "seed0" / "curve.parquet", "is damaged"),
        (seeds / "seed0" / "evaluations" / "newton_mjwarp", "cannot be read"),
        (seeds / "seed1", "is damaged"),
        (references / "seed0", "no config.yaml"),
        (tmp_path / "again" / "seed1", f"the same run as {references / 'seed1'}"),
        (copy / "0.1.0" / "franka-reach", "the run failed: NaN"),
    ):
        assert [line for line in lines if f"left out {path}" in line and reason in line]
    found = runs.find(out)
    assert not found.skipped
    assert [(run.entry.algo, run.seed, len(run.others)) for run in found.runs] == [("ppo", 0, 0), ("random", 1, 0)]
    assert "curve.parquet" not in files_of(out / PLACE / "seed0")


def test_a_copy_that_fails_leaves_the_old_run(copy, tmp_path, monkeypatch):
    out = tmp_path / "published"
    publish.publish([copy], out)
    before = {path: sha256(path) for path in out.rglob("*") if path.is_file()}

    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish.plain, "copy", full)
    with pytest.raises(UserError, match="No space left"):
        publish.publish([copy], out)
    assert {path: sha256(path) for path in out.rglob("*") if path.is_file()} == before
    assert sorted(tmp_path.iterdir()) == [out, copy]


@pytest.mark.parametrize(("source", "out", "said"), [
    ("empty", "new", "no complete run in"),
    ("unfinished", "new", "1 left out, the first: "),
    ("nowhere", "new", "cannot read runs from"),
    ("runs", "file", "choose another --out"),
])  # fmt: skip
def test_bad_input(tmp_path, capsys, source, out, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    write_unfinished(tmp_path / "unfinished")
    write_run(tmp_path / "runs", episodes=8)
    argv = [str(tmp_path / source), "--out", str(tmp_path / out)]
    assert exit_code("leaderboard.publish", lambda: publish.main(argv)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "new").exists()


def test_what_a_run_without_its_policy_is_good_for(copy, tmp_path):
    """It counts as a seed that a reproduction is compared with; it cannot be submitted."""
    setting = copy.joinpath(*PLACE.split("/")[1:])
    write_run(copy, seed=2, episodes=8)
    publish.publish([copy], tmp_path / "published")
    published = tmp_path / "published" / PLACE
    assert len(list(published.glob("seed*/policy.safetensors"))) == 1
    (setting / "seed3").mkdir()
    (published / "seed3").mkdir()
    (published / "seed3" / "result.json").write_text("{}")
    found = reproduce.results_of_seeds(published)
    assert [result["seed"] for result in found] == [0, 1, 2]
    with pytest.raises(UserError, match=r"not complete \(no policy.safetensors\)"):
        submit.pack([published], tmp_path / "b.zip", "open", {})


def test_links_are_not_followed(copy, tmp_path, capsys):
    """A link may lead to a secret, and the published folder is for git."""
    (tmp_path / "netrc").write_text("password hunter2")
    for name in ("config.yaml", "provenance.json", "curve.parquet"):
        file = next(copy.glob("*/*/ppo/*/seed0")) / name
        file.unlink()
        file.symlink_to(tmp_path / "netrc")
        os.mkfifo(next(copy.glob("*/*/random/*/seed0")) / name) if name == "curve.parquet" else None
    publish.main([str(copy), "--out", str(tmp_path / "out")])
    assert "config.yaml is a link" in capsys.readouterr().err
    copied = [file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert copied
    assert not any(b"hunter2" in content for content in copied)
    assert not (tmp_path / "out" / PLACE / "seed0").exists()
    assert files_of(tmp_path / "out" / PLACE.replace("ppo", "random") / "seed0") >= ALWAYS


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_the_old_run_is_back_where_the_new_one_cannot_be_put(copy, tmp_path, monkeypatch, error):
    out = tmp_path / "published"
    publish.publish([copy], out)
    before = {path: sha256(path) for path in out.rglob("*") if path.is_file()}
    rename = Path.rename

    def fail(self, target):
        if self.name == "new":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((UserError, KeyboardInterrupt)):
        publish.publish([copy], out)
    assert {path: sha256(path) for path in out.rglob("*") if path.is_file()} == before


def test_a_copy_that_was_killed_half_way_is_mended_by_the_next(source, tmp_path):
    out = tmp_path / "published"
    publish.publish([source], out)
    seed0 = out / PLACE / "seed0"
    seed0.rename(seed0.with_name(".seed0.old"))
    publish.publish([source], out)
    assert sorted(path.name for path in seed0.parent.iterdir()) == ["seed0", "seed1"]
