"""What verify does where its own machine fails, and what a repetition compares."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from leaderboard import submit, verify
from leaderboard.submissions import bundle, checks, isolation, reevaluation, tables
from leaderboard.submissions.isolation import limited_memory
from suite.errors import UserError
from suite.runs.rundir import sha256
from suite.untrusted import Unusable
from tests.helpers.toy_runs import copy_run, edit_episodes, rehash
from tests.leaderboard.test_verify import TEXTS, as_seed, edit_json, packed, verdict_on


@pytest.fixture
def run(tmp_path):
    """A copy of a sound run, to be changed."""
    return copy_run(tmp_path / "runs")


def elsewhere(run):
    """Let the run come from another CPU, so that bits may differ."""
    other = json.loads((run / "provenance.json").read_text()) | {"cpu": "Another CPU"}
    (run / "provenance.json").write_text(json.dumps(other))
    edit_json(run / "result.json", provenance=other, device="Another CPU")


def replaced(table, column, values):
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def command_of(monkeypatch, tmp_path, run):
    """What verify starts to run a policy again."""
    started = []

    def refuse(command, **options):
        started.append((command, options))
        return subprocess.CompletedProcess(command, 1)

    (submitted,) = checks.check(bundle.read(packed(tmp_path, run), tmp_path / "in"))
    monkeypatch.setattr(reevaluation.subprocess, "run", refuse)
    with pytest.raises(reevaluation.Undecided):
        reevaluation.repeat(submitted, "torch", "cpu", {"cpu": "x"}, tmp_path / "work")
    return started[0]


def test_a_policy_is_run_again_on_the_engine_that_is_claimed(run, tmp_path, monkeypatch):
    command, _ = command_of(monkeypatch, tmp_path, run)
    assert command[command.index("--physics") + 1] == "torch"


@pytest.mark.parametrize("algo", ["ppo", "mine"])
def test_one_source_says_which_engine_a_run_is_of(run, tmp_path, algo):
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"algo": algo, "engine": "newton_mjwarp"}
    if algo == "mine":  # a policy of other code
        folder = run.parents[2] / "mine" / run.parent.name / run.name
        folder.parent.mkdir(parents=True)
        run = run.rename(folder)
        edit_episodes(run, lambda rows: [row.update(algo="mine") for row in rows])
        rehash(run, algo="mine")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    opened = bundle.read(packed(tmp_path, run), tmp_path / "in")
    with pytest.raises(Unusable, match=r"engine in config\.yaml is not what result\.json"):
        checks.check(opened)


def test_a_repetition_has_a_time_limit_by_its_size(run, tmp_path, monkeypatch):
    _, options = command_of(monkeypatch, tmp_path, run)
    assert options["timeout"] == reevaluation.START_S + 320 * 50 / reevaluation.RATE


def test_all_repetitions_together_have_a_time_limit(run, tmp_path, monkeypatch):
    honest = pq.read_table(run / "episodes.parquet")
    verdict = verdict_on(packed(tmp_path, run), tmp_path, monkeypatch, honest, limit_s=0.0)
    assert verdict["decision"] == "undecided"
    assert "together" in verdict["reason"]


@pytest.mark.parametrize("same_cpu", [True, False])
def test_episodes_of_another_engine_are_refused_on_every_machine(run, tmp_path, monkeypatch, same_cpu):
    honest = pq.read_table(run / "episodes.parquet")
    if not same_cpu:
        elsewhere(run)
    other = replaced(honest, "engine", ["newton_mjwarp"] * honest.num_rows)
    verdict = verdict_on(packed(tmp_path, run), tmp_path, monkeypatch, other)
    assert verdict["decision"] == "refused"
    assert "engine of row 0" in verdict["reason"]


def test_returns_that_are_forged_in_size_are_refused_on_another_machine(run, tmp_path, monkeypatch):
    elsewhere(run)
    honest = pq.read_table(run / "episodes.parquet")

    def shift(by):
        values = honest["return"].to_numpy()

        def edit(rows):
            for row, value, more in zip(rows, values, np.resize(by, len(rows)), strict=True):
                row["return"] = float(value + more)

        return edit

    for by, why in (([20.0, -1e-3], "return is another"), ([1e6] + [0.0] * 319, "return of row 0 is")):
        edit_episodes(run, shift(by))
        rehash(run)
        verdict = verdict_on(packed(tmp_path, run), tmp_path, monkeypatch, honest)
        assert verdict["decision"] == "refused", verdict["reason"]
        assert why in verdict["reason"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ChildProcessError("the process that reads the tables did not finish: it was ended by signal 9"),
        TypeError("unhashable type: 'list'"),
        RecursionError("maximum recursion depth exceeded"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
)
def test_what_fails_on_the_verifiers_machine_decides_nothing(run, tmp_path, monkeypatch, error, capsys):
    path = packed(tmp_path, run)

    def fail(*_):
        raise error

    for module, name in ((bundle, "read"), (tables, "probe"), (checks, "check"), (reevaluation, "repeat")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, fail)
            if name == "repeat":
                patched.setattr(reevaluation, "draw", lambda cells, *_: list(cells))
            verdict = verdict_on(path, tmp_path, patched)
        assert verdict["decision"] == "undecided", name
        assert type(error).__name__ in verdict["reason"]
        assert "\n" not in verdict["reason"]
    assert "Traceback" in capsys.readouterr().err


def test_the_exit_code_of_an_undecided_verification_is_3(run, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables, "probe", fail)
    path, out = packed(tmp_path, run), tmp_path / "verdict.json"
    assert verify.main([str(path), "--device", "cpu", "--out", str(out)]) == 3
    assert json.loads(out.read_text())["decision"] == "undecided"


def test_a_verifier_with_too_little_memory_says_so(monkeypatch):
    monkeypatch.setattr(isolation.resource, "getrlimit", lambda _: (2**30, 2**30))
    monkeypatch.setattr(isolation.resource, "setrlimit", lambda *_: None)
    with pytest.raises(OSError, match="ulimit -v"), limited_memory():
        pass


def test_where_a_verdict_cannot_go_is_said_before(run, tmp_path):
    path = packed(tmp_path, run)
    for options, why in (
        (["--out", str(tmp_path)], "is a folder"),
        (["--out", str(tmp_path / "no" / "v.json")], "there is no folder"),
        (["--unpack", str(tmp_path / "no" / "runs")], "there is no folder"),
        (["--hours", "0"], "--hours"),
        (["--hours", "nan"], "--hours"),
    ):
        with pytest.raises(UserError, match=why):
            verify.main([str(path), "--device", "cpu", *options])


def test_a_verdict_that_cannot_be_written_leaves_nothing(run, tmp_path, monkeypatch):
    honest = pq.read_table(run / "episodes.parquet")
    monkeypatch.setattr(reevaluation, "_evaluate", lambda *_: honest)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(verify, "write_json", full)
    out, unpack = tmp_path / "v.json", tmp_path / "accepted"
    with pytest.raises(UserError, match=r"cannot write the verdict .*accepted.*No space left"):
        verify.main([str(packed(tmp_path, run)), "--device", "cpu", "--out", str(out), "--unpack", str(unpack)])
    assert not out.exists()
    assert not unpack.exists()


def test_two_folders_with_the_same_run_are_both_named(tmp_path):
    one, two = copy_run(tmp_path / "a"), copy_run(tmp_path / "b")
    with pytest.raises(UserError, match="hold the same run") as error:
        submit.pack([one, two], tmp_path / "b.zip", "open", TEXTS)
    assert str(one) in str(error.value)
    assert str(two) in str(error.value)
    assert not (tmp_path / "b.zip").exists()


def test_one_run_in_two_files_is_one_run(tmp_path):
    """Parquet with other row groups has another hash, and the same content."""
    one, two = copy_run(tmp_path / "a"), as_seed(copy_run(tmp_path / "b"), 1)
    file = two / "episodes.parquet"
    pq.write_table(pq.read_table(file), file, row_group_size=77)
    edit_json(two / "result.json", episodes_sha256=sha256(file), env_steps=0)
    opened = bundle.read(packed(tmp_path, one, two), tmp_path / "in")
    with pytest.raises(Unusable, match="has the same policy as"):
        checks.check(opened)


def test_a_verdict_names_what_a_copy_is_known_by(run, tmp_path, monkeypatch):
    honest = pq.read_table(run / "episodes.parquet")
    verdict = verdict_on(packed(tmp_path, run), tmp_path, monkeypatch, honest)
    assert [text.split()[0] for text in verdict["runs"][0]["contents"]] == ["policy", "episodes"]


def test_the_policy_is_run_again_by_the_suite(run, tmp_path, monkeypatch):
    """The one test that steps the toy env: all else replaces what the rerun gives."""
    monkeypatch.setitem(os.environ, "PYTHONPATH", os.pathsep.join(sys.path))
    verdict = verdict_on(packed(tmp_path, run), tmp_path, monkeypatch, cells=1)
    assert verdict["decision"] == "accepted", verdict["reason"]
    assert verdict["reruns"][0]["mode"] == "bitwise"
