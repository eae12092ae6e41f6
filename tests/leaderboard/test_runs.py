import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.data import plain, runs
from suite.execute import devices
from tasks.spec import GRADES
from tests.helpers.synthetic_runs import rehash, write_run, write_unfinished


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with one sound run, to be copied."""
    out = tmp_path_factory.mktemp("sound")
    write_run(out, episodes=8, engines=("newton_mjwarp",))
    return out


@pytest.fixture
def copy(sound, tmp_path):
    """The path of a sound run's directory, to be damaged."""
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    return next(tmp_path.glob("*/*/*/*/seed0"))


def edit(file, **fields):
    content = json.loads(file.read_text())
    for name, value in fields.items():
        content.pop(name) if value is KeyError else content.update({name: value})
    file.write_text(json.dumps(content))


def edit_episodes(folder, column, values):
    """Change a column of the episodes, and the hash."""
    file = folder / "episodes.parquet"
    table = pq.read_table(file)
    pq.write_table(table.set_column(table.column_names.index(column), column, values(table[column])), file)
    rehash(folder)


def reason(root):
    found = runs.find(root)
    assert not found.runs
    assert len(found.skipped) == 1
    assert "\n" not in found.skipped[0].reason
    return found.skipped[0].reason


def test_a_sound_run_is_read(sound):
    found = runs.find(sound)
    assert not found.skipped
    (run,) = found.runs
    assert run.path == "0.1.0/cartpole-balance/ppo/none-r0-ovphysx-smoke/seed0"
    assert run.key == ("cartpole-balance", runs.Entry("smoke", "ppo", "none", "r0", "ovphysx"), 0)
    assert run.evaluation.episodes.tolist() == [8] * 5
    claimed = [run.result["success"][g] for g in GRADES]
    np.testing.assert_allclose(run.evaluation.successes / 8, claimed)
    assert [other.engine for other in run.others] == ["newton_mjwarp"]
    assert run.curve.env_steps.tolist() == np.linspace(0, 100_000, 81)[1:].tolist()
    assert ((run.curve.success >= 0) & (run.curve.success <= 1)).all()
    assert run.config.startswith("task: cartpole-balance")


def test_reference_policies_have_no_curve(tmp_path):
    write_run(tmp_path, algo="random", trained=False)
    assert runs.find(tmp_path).runs[0].curve is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"schema": 2}, "schema 2"),
        ({"suite_version": "0.0.9"}, "suite version '0.0.9'"),
        ({"protocol": {"name": "quick", "version": 0}}, "protocol version 0"),
        ({"energy_j": -1}, '"energy_j"'),
        ({"seed": KeyError}, 'no "seed"'),
        ({"seed": True}, '"seed"'),
        ({"seed": -1}, '"seed"'),
        ({"task": "../../etc"}, '"task"'),
        ({"algo": "<script>"}, '"algo"'),
        ({"algo": 7}, '"algo"'),
        ({"overrides": []}, '"overrides"'),
        ({"env_steps": 1.5}, '"env_steps"'),
        ({"wall_time_s": -1}, '"wall_time_s"'),
        ({"wall_time_s": float("nan")}, "NaN"),
        ({"wall_time_s": float("inf")}, "Infinity"),
        ({"env_steps": 10**30}, "not a finite number"),
        ({"success": {"g1": 1.0}}, '"success"'),
        ({"success": dict.fromkeys(GRADES, 1.5)}, '"success"'),
        ({"success": dict.fromkeys(GRADES, 0.123)}, "is claimed at g1"),
        ({"episodes": dict.fromkeys(GRADES, 9)}, "9 episodes are claimed at g1, there are 8"),
        ({"policy_sha256": "abc"}, '"policy_sha256"'),
        ({"policy_sha256": "0" * 64}, "policy.safetensors"),
        ({"episodes_sha256": "0" * 64}, "episodes_sha256"),
        ({"provenance": {"ended": "yesterday"}}, '"ended"'),
        ({"provenance": {"ended": "2026-11-20T10:00:00"}}, '"ended"'),
        ({"engine": "physx"}, "episodes of engine 'ovphysx'"),
    ],
)
def test_a_result_that_is_wrong_is_left_out(copy, tmp_path, fields, expected):
    edit(copy / "result.json", **fields)
    assert expected in reason(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"schema": 1, "suite_', "not JSON"),
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a": 1e999}', "1e999"),
        (b'{"a":' * 40_000, "more than 32 levels"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a finite number"),
    ],
)
def test_a_result_that_is_not_json_is_left_out(copy, tmp_path, content, expected):
    (copy / "result.json").write_bytes(content)
    assert expected in reason(tmp_path)


def test_a_huge_result_is_not_read(copy, tmp_path):
    with (copy / "result.json").open("wb") as file:
        file.truncate(10 * 2**30)
    assert "larger than 256 KiB" in reason(tmp_path)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("task", lambda c: pa.array(["franka-reach"] * len(c)), "episodes of task 'franka-reach'"),
        ("grade", lambda c: pa.array(["g1"] * len(c)), "g1 to g5"),
        ("grade", lambda c: pa.array(["g6"] * len(c)), "g1 to g5"),
        ("success", lambda c: pa.array([1.0] * len(c)), '"success"'),
        ("success", lambda c: pa.array([None] * len(c), pa.bool_()), '"success"'),
        ("success", lambda c: pa.array([True] * len(c)), "is claimed at"),
        ("return", lambda c: pa.array([float("nan")] * len(c)), "impossible return"),
        ("return", lambda c: pa.array(["much"] * len(c)), "has to have numbers"),
        ("length", lambda c: pa.array([-1] * len(c)), "impossible return or length"),
    ],
)
def test_episodes_that_are_wrong_are_left_out(copy, tmp_path, column, values, expected):
    edit_episodes(copy, column, values)
    assert expected in reason(tmp_path)


def with_cells(copy, cells, **columns):
    """Repeat the run's episodes once for each of `cells`, after the nominal ones; columns are one value a cell."""
    file = copy / "episodes.parquet"
    table = pq.read_table(file)
    rows = table.to_pylist()
    nominal = [row | {"cell": f"nominal/{row['grade']}"} for row in rows]
    extra = [row | {"cell": cell} for cell in cells for row in rows if row["grade"] == "g3"]
    for name, values in columns.items():
        for row in nominal:
            row[name] = values[0]
        for i, row in enumerate(extra):
            row[name] = values[1 + i // 8]
    pq.write_table(pa.Table.from_pylist(nominal + extra), file)
    rehash(copy)


def test_cells_of_the_protocol_are_counted_apart_from_grades(copy, tmp_path):
    cells = ["factor/mass/0", "factor/mass/4", "all/mixed"]
    with_cells(copy, cells, **{"factor.mass": [1.0, 0.5, 2.0, 1.5], "violation.speed": [0, 1, 2, 3]})
    (run,) = runs.find(tmp_path).runs
    assert run.evaluation.episodes.tolist() == [8] * 5
    found = run.evaluation.cells
    assert found.names == ("all/mixed", "factor/mass/0", "factor/mass/4", *(f"nominal/{g}" for g in GRADES))
    assert found.episodes.tolist() == [8] * 8
    assert list(found.points["mass"]) == [0.5, 2.0]
    for items in found.points["mass"].values():
        assert items.sum(axis=0).tolist() == [found.successes[1], 8]
    assert [items.sum(axis=0).tolist() for items in found.items] == [[k, 8] for k in found.successes]
    assert found.violations["speed"].tolist() == [24, 8, 16, 0, 0, 0, 0, 0]
    assert found.successes[1] == run.evaluation.successes[2]


def test_a_file_without_cells_has_the_nominal_ones(sound):
    cells = runs.find(sound).runs[0].evaluation.cells
    assert cells.names == tuple(f"nominal/{g}" for g in GRADES)
    assert cells.violations == {}


@pytest.mark.parametrize(
    ("cells", "columns", "expected"),
    [
        (["<b>/x"], {}, "a cell '<b>/x', which no protocol has"),
        (["nominal/g1"], {}, "another grade than its cell"),
        (["all/mixed"], {"violation.speed": [0, -1]}, "impossible number of steps in violation.speed"),
        (["factor/mass/0"], {"factor.mass": ["a", "b"]}, '"factor.mass" in episodes.parquet has to have numbers'),
    ],
)
def test_cells_that_are_wrong_are_left_out(copy, tmp_path, cells, columns, expected):
    with_cells(copy, cells, **columns)
    assert expected in reason(tmp_path)


def test_a_missing_column_is_named(copy, tmp_path):
    table = pq.read_table(copy / "episodes.parquet").drop_columns(["success"])
    pq.write_table(table, copy / "episodes.parquet")
    rehash(copy)
    assert reason(tmp_path) == 'episodes.parquet has no column "success"'


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 500 + b"PAR1", None])
def test_damaged_or_missing_episodes_are_left_out(copy, tmp_path, content):
    file = copy / "episodes.parquet"
    file.write_bytes(content) if content is not None else file.unlink()
    assert "episodes.parquet" in reason(tmp_path)
    if content is not None:
        rehash(copy)
        assert reason(tmp_path) == "episodes.parquet is damaged: not a parquet file"


@pytest.mark.parametrize("name", ["episodes", "progress", "curve"])
def test_damage_that_crashes_arrow_is_found_before(tmp_path, name):
    """One byte of a footer is enough to end the process that reads the table."""
    folder = write_run(tmp_path, episodes=8, curve=True)
    write_run(tmp_path, "franka-reach", episodes=8)
    file = folder / f"{name}.parquet"
    data = bytearray(file.read_bytes())
    data[-500] = 0
    file.write_bytes(data)
    found = runs.find(tmp_path)
    assert [run.task for run in found.runs][-1] == "franka-reach"
    assert len(found.runs) == (1 if name == "episodes" else 2)
    (left_out,) = found.skipped
    assert f"{name}.parquet is damaged, or not the run's" in left_out.reason


def test_a_return_may_be_missing_where_the_episode_failed(tmp_path):
    folder = write_run(tmp_path, skill=-50, episodes=8)
    edit_episodes(folder, "return", lambda c: pa.array([float("nan"), *c.to_pylist()[1:]]))
    (run,) = runs.find(tmp_path).runs
    assert np.isfinite(run.evaluation.returns).all()


@pytest.mark.parametrize(
    ("state", "message", "expected"),
    [
        ("training", "", "no result.json: the run was training at env step 40000 of 100000"),
        ("failed", "NaN in obs\nof env 3", "the run failed: NaN in obs of env 3"),
    ],
)
def test_unfinished_runs_say_how_far_they_came(tmp_path, state, message, expected):
    write_unfinished(tmp_path, state, message)
    assert reason(tmp_path) == expected


def test_foreign_folders_are_listed(tmp_path):
    (tmp_path / "other" / "thing").mkdir(parents=True)
    (tmp_path / "other" / "thing" / "config.yaml").write_text("x: 1")
    assert reason(tmp_path) == "no result.json: the run did not finish"


def test_a_copy_of_a_run_counts_once(copy, tmp_path):
    shutil.copytree(copy, tmp_path / "zcopy")
    found = runs.find(tmp_path)
    assert len(found.runs) == 1
    assert found.skipped == [runs.Skipped("zcopy", f"the same run as {found.runs[0].path}")]


def test_a_damaged_curve_costs_only_the_curve(copy, tmp_path):
    (copy / "progress.parquet").write_bytes(b"half")
    found = runs.find(tmp_path)
    assert found.runs[0].curve is None
    assert found.skipped[0].path.endswith("seed0/progress.parquet")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"policy_sha256": "0" * 64}, "another policy"),
        ({"engine": "physx"}, "engine physx"),
        ({"episodes_sha256": "0" * 64}, "episodes_sha256"),
        ({"command": KeyError}, 'evaluation.json has no "command"'),
        (None, "did not finish"),
    ],
)
def test_a_wrong_evaluation_costs_only_itself(copy, tmp_path, fields, expected):
    file = copy / "evaluations" / "newton_mjwarp" / "evaluation.json"
    edit(file, **fields) if fields else file.unlink()
    found = runs.find(tmp_path)
    assert found.runs[0].others == ()
    assert expected in found.skipped[0].reason


def test_paths_that_are_not_text_are_shown(copy, tmp_path):
    shutil.copytree(copy, tmp_path / os.fsdecode(b"bad\xffname"))
    assert any("bad\ufffdname" in s.path for s in runs.find(tmp_path).skipped)


def test_runs_of_submissions_keep_apart(tmp_path):
    """The same training by two submitters, and by oneself: three entries, and the open division ranked apart."""
    for number, (submitter, division) in enumerate((("A lab", "closed"), ("B lab", "open"))):
        folder = tmp_path / "accepted" / str(number)
        write_run(folder, episodes=8)
        (folder / "manifest.json").write_text(json.dumps({"submitter": submitter, "division": division}))
    write_run(tmp_path / "own", episodes=8)
    found = runs.find(tmp_path)
    assert not found.skipped
    assert [(run.entry.budget, run.entry.submitter) for run in found.runs] == [
        ("smoke", ""),
        ("smoke", "A lab"),
        ("smoke-open", "B lab"),
    ]
    assert runs.find(tmp_path / "accepted" / "0").runs[0].entry.submitter == "A lab"


def submission(root, number, seeds, task="cartpole-balance", submitter="A lab"):
    folder = root / str(number)
    for seed in seeds:
        write_run(folder, task, seed=seed, episodes=8)
    (folder / "manifest.json").write_text(json.dumps({"submitter": submitter, "division": "closed", "title": "x"}))


def test_the_newest_submission_of_an_entry_replaces_older_ones_whole(tmp_path):
    """In the order of their numbers, and never seed by seed."""
    for number, seeds in ((9, range(5)), (10, range(5)), (11, range(2))):
        submission(tmp_path, number, seeds)
    submission(tmp_path, 2, [0], submitter="B lab")
    submission(tmp_path, 3, [0], task="franka-reach")
    found = runs.find(tmp_path)
    counted = [(run.path.partition("/")[0], run.task, run.seed) for run in found.runs]
    assert sorted(counted) == [
        ("11", "cartpole-balance", 0),
        ("11", "cartpole-balance", 1),
        ("2", "cartpole-balance", 0),
        ("3", "franka-reach", 0),
    ]
    assert len(found.skipped) == 10
    assert {left.reason for left in found.skipped} == {"a newer submission of its entry replaced it: 11"}


FILES = (
    *("result.json", "config.yaml", "episodes.parquet", "policy.safetensors", "progress.parquet"),
    *("curriculum.parquet", "evaluations/newton_mjwarp/evaluation.json", "evaluations/newton_mjwarp/episodes.parquet"),
)
WHOLE = ("result.json", "episodes.parquet", "policy.safetensors")  # without these there is no run


@pytest.mark.parametrize("kind", ["link", "fifo", "device", "folder", "large"])
@pytest.mark.parametrize("name", FILES)
def test_only_plain_files_of_a_run_are_read(tmp_path, tmp_path_factory, name, kind, monkeypatch):
    """A link may lead to somebody's secrets or to /dev/zero, and a pipe has no end."""
    file = write_run(tmp_path, episodes=8, engines=("newton_mjwarp",), curriculum="staged") / name
    away = tmp_path_factory.mktemp("away") / file.name
    file.rename(away)
    if kind == "link":
        file.symlink_to(away)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        monkeypatch.setitem(plain.LARGEST, file.suffix, 100)
        with file.open("wb") as hole:
            hole.truncate(2**40)
    found = runs.find(tmp_path)
    if kind == "large":
        assert any("is larger than" in left.reason for left in found.skipped)
        return
    assert len(found.runs) == (name not in WHOLE)
    wanted = {"link": "is a link", "device": "is a link"}.get(kind, "is not a plain file")
    assert any(wanted in left.reason for left in found.skipped), found.skipped


@pytest.mark.parametrize("name", ["evaluations", "evaluations/newton_mjwarp"])
def test_folders_of_a_run_are_no_links(copy, tmp_path, tmp_path_factory, name):
    away = tmp_path_factory.mktemp("away") / "there"
    (copy / name).rename(away)
    (copy / name).symlink_to(away)
    found = runs.find(tmp_path)
    assert found.runs[0].others == ()
    assert "is a link" in found.skipped[0].reason


def not_utf8(folder, column="engine"):
    """Write texts that are no UTF-8 into a column of the episodes."""
    file = folder / "episodes.parquet"
    table = pq.read_table(file)
    offsets = np.arange(0, 5 * table.num_rows + 1, 5, dtype=np.int32).tobytes()
    texts = [None, pa.py_buffer(offsets), pa.py_buffer(b"torc\xff" * table.num_rows)]
    bad = pa.Array.from_buffers(pa.string(), table.num_rows, texts)
    pq.write_table(table.set_column(table.column_names.index(column), column, bad), file)
    rehash(folder)


@pytest.mark.parametrize("column", ["engine", "cell", "task", "grade"])
@pytest.mark.parametrize("threshold", [1, 400])
def test_a_run_that_raises_costs_itself_alone(tmp_path, column, threshold, monkeypatch):
    monkeypatch.setattr(runs, "PARALLEL_FROM", threshold)
    monkeypatch.setattr(devices, "cores", lambda: 2)
    not_utf8(write_run(tmp_path, "franka-reach", episodes=8, perturbed=True), column)
    write_run(tmp_path, episodes=8)
    found = runs.find(tmp_path)
    assert [run.task for run in found.runs] == ["cartpole-balance"]
    assert [left.path.split("/")[1] for left in found.skipped] == ["franka-reach"]


def test_whatever_reading_a_run_raises_costs_it_alone(copy, tmp_path, monkeypatch):
    def fail(*_):
        raise RecursionError("too \x1b[31mdeep")

    monkeypatch.setattr(runs.evaluations, "read", fail)
    assert reason(tmp_path) == "it cannot be read: too \ufffd[31mdeep"
