"""Submissions that lie: found in the files where that is possible, and by running the policy again where it is not."""

import json
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from baselines.policy_file import export_reference
from leaderboard import submit, verify
from leaderboard.submissions import bundle, checks, reevaluation
from leaderboard.submissions.isolation import environment, limited_memory
from suite.errors import UserError
from suite.runs import provenance
from suite.runs.rundir import sha256
from suite.untrusted import Unusable
from tasks import get
from tests.helpers.toy_runs import copy_run, edit_episodes, pd_controller, rehash, spring_run, win

TEXTS = {"title": "Spring", "submitter": "me", "contact": "me@example.org", "description": "No training."}


@pytest.fixture
def run(tmp_path):
    """A copy of a sound run, to be changed."""
    return copy_run(tmp_path / "runs")


def packed(tmp_path, *runs, division="open"):
    out = tmp_path / "b.zip"
    out.unlink(missing_ok=True)
    places = {"/".join(("runs", *folder.parts[-5:])): folder for folder in runs}
    bundle.write(out, TEXTS, division, places)
    return out


def reason(tmp_path, *runs, division="open"):
    """Why the files of a bundle of `runs` are refused."""
    opened = bundle.read(packed(tmp_path, *runs, division=division), tmp_path / f"in{len(list(tmp_path.iterdir()))}")
    with pytest.raises(Unusable) as error:
        checks.check(opened)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_sound_run_is_packed(run, tmp_path, capsys):
    digest, count = submit.pack([run], tmp_path / "b.zip", "open", TEXTS)
    assert count == 1
    texts = [text for name, value in TEXTS.items() for text in (f"--{name}", value)]
    command = [str(tmp_path / "runs"), "--out", str(tmp_path / "again.zip"), "--division", "open", *texts]
    assert submit.main(command) == 0
    assert digest in capsys.readouterr().out
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with pytest.raises(UserError, match="exists"):
        submit.main(command)
    (submitted,) = checks.check(bundle.read(tmp_path / "b.zip", tmp_path / "in"))
    assert submitted.run.task == "toy-reach"
    assert submitted.episodes["torch"].num_rows == 5 * 64


def test_packing_refuses_what_is_not_whole(run, tmp_path):
    def refused(*runs, division="open", **texts):
        with pytest.raises(UserError) as error:
            submit.pack(runs, tmp_path / "b.zip", division, TEXTS | texts)
        assert not (tmp_path / "b.zip").exists()
        assert not list(tmp_path.glob(".submit*"))
        return str(error.value)

    assert "title" in refused(run, title="<b>best</b>")
    assert "no run directory" in refused(tmp_path / "nowhere")
    assert "does not fit ppo" in refused(run, division="closed")
    text = (run / "result.json").read_text()
    (run / "result.json").write_text(text[: len(text) // 2])
    assert "no valid result.json" in refused(run)
    (run / "result.json").unlink()
    assert "not complete (no result.json)" in refused(run)
    (run / "result.json").write_text(text)
    (run / "policy.safetensors").write_bytes((run / "policy.safetensors").read_bytes()[:-8])
    assert "policy" in refused(run)


def one(**fields):
    return lambda rows: rows[7].update(fields)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (one(**{"return": math.nan}), "not finite|impossible"),
        (one(**{"return": math.inf}), "not finite|impossible"),
        (one(**{"return": 1e30}), "beyond"),
        (one(**{"return": 1e300}), '"return" in result.json'),
        (one(length=51), "a length"),
        (one(length=-1), "impossible|a length"),
        (one(success=False), "does not follow"),
        (one(success_once=False), "but not once"),
        (one(termination="non_finite"), "counts as failed"),
        (one(termination="<script>"), "no name"),
        (one(seed=5), "seed in row 7"),
        (one(difficulty=0.1), "difficulty in row 7"),
        (one(env=9), "env in row 7"),
        (one(episode=0), "episode in row 7"),
        (one(task="go2-velocity"), "task"),
        (lambda rows: rows.pop(), "319 episodes"),
        (lambda rows: rows.append(rows[-1]), "321 episodes"),
        (lambda rows: rows.sort(key=lambda row: row["success"]), "in row"),
    ],
)
def test_edited_and_rehashed_episodes(run, tmp_path, edit, why):
    edit_episodes(run, edit)
    rehash(run)
    assert re.search(why, reason(tmp_path, run))


def test_edited_episodes_with_unchanged_hashes(run, tmp_path):
    edit_episodes(run, win)
    assert "episodes_sha256 is the hash of another file" in reason(tmp_path, run)
    edit_json(run / "result.json", episodes_sha256=sha256(run / "episodes.parquet"))
    assert "claimed at g5" in reason(tmp_path, run)


def test_columns(run, tmp_path):
    file = run / "episodes.parquet"
    table = pq.read_table(file)
    for changed, why in (
        (table.drop(["seed"]), 'no column "seed"'),
        (table.append_column("extra", pa.array(np.zeros(table.num_rows))), "unknown column"),
        (table.set_column(8, "return", pa.array([None] + [1.0] * 319)), "return"),
        (table.set_column(9, "length", table["length"].cast(pa.float64())), '"length"'),
    ):
        pq.write_table(changed, file)
        edit_json(run / "result.json", episodes_sha256=sha256(file))
        assert why in reason(tmp_path, run)


def edit_json(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"suite_version": "0.0.9"}, "suite version"),
        ({"task": "no-such-task"}, "task"),
        ({"algo": "<script>"}, "holds the character"),
        ({"command": "python -m x <img src=x onerror=alert(1)>"}, "holds the character"),
        ({"command": "x" * 10_001}, "characters"),
        ({"wall_time_s": math.nan}, "finite"),
        ({"env_steps": -1}, "env_steps"),
        ({"success": dict.fromkeys(("g1", "g2", "g3", "g4", "g5"), 1.5)}, "success"),
        ({"return": {}}, "return"),
        ({"return": dict.fromkeys(("g1", "g2", "g3", "g4", "g5"), 1e6)}, "return g1 1000000.0, not"),
        ({"cells": {"all/mixed": {"success": 1.0, "episodes": 32}}}, "cells"),
        ({"protocol": {"name": "nominal", "version": 0, "sha256": "0" * 64}}, "protocol"),
        ({"protocol": None}, "protocol"),
        ({"overrides": {"agent.hidden_sizes": {"a": 1}}}, "expected a number, a text"),
        ({"overrides": {"agent.hidden_sizes": "x"}}, "none of this suite's"),
        ({"budget": "endless"}, "budget"),
        ({"seed": 3}, "seed in config.yaml"),
        ({"curriculum": "other"}, "none of this suite's"),
        ({"overrides": {"agent.gamma": 0.5}}, "agent in config.yaml"),
        ({"overrides": {"no.such": 1}}, "no setting"),
        ({"provenance": {"ended": "2026-11-20T00:00:00+00:00"}}, "provenance"),
    ],
)
def test_results_that_lie(run, tmp_path, fields, why):
    edit_json(run / "result.json", **fields)
    assert why in reason(tmp_path, run)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("seed: 2000003", "seed: 1"), "eval.* cannot be changed"),
        (lambda text: text.replace("episodes_per_grade: 64", "episodes_per_grade: 8"), "eval.* cannot be changed"),
        (lambda text: text.replace("gamma: 0.99", "gamma: 0.9"), "agent in config.yaml"),
        (lambda text: text + "extra: 1\n", '"extra" in config.yaml'),
        (lambda text: text.replace("device: cpu", "device: ${oc.env:HOME}"), "not resolved"),
        (lambda text: text + "a: &a [x]\nb: [*a, *a]\n", "anchors, aliases or tags"),
        (lambda text: text + "a: !!python/object/apply:os.system [id]\n", "anchors, aliases or tags"),
        (lambda text: text + "a: <script>\n", "holds the character"),
        (lambda text: "[" * 5000, "more than 32 levels"),
        (lambda text: "- 1\n", "not a mapping"),
    ],
)
def test_configurations_that_lie(run, tmp_path, change, why):
    config = run / "config.yaml"
    config.write_text(change(config.read_text()))
    assert why in reason(tmp_path, run)


def test_another_tasks_policy(run, tmp_path):
    export_reference("zero", get("go2-velocity"), run / "policy.safetensors")
    rehash(run)
    assert "another task" in reason(tmp_path, run)


def as_seed(run, seed):
    """The same run under another seed."""
    other = run.with_name(f"seed{seed}")
    run.rename(other)
    config = yaml.safe_load((other / "config.yaml").read_text()) | {"seed": seed}
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    edit_json(other / "result.json", seed=seed, env_steps=100_000)
    return other


def test_seeds_left_out_and_repeated(tmp_path):
    zero, two = copy_run(tmp_path / "a"), as_seed(copy_run(tmp_path / "b"), 2)
    edit_json(zero / "result.json", env_steps=100_000)
    assert "seed 0 is missing" in reason(tmp_path, two)
    assert "has the same policy as" in reason(tmp_path, zero, two)
    pd_controller(two / "policy.safetensors", 0.5)
    rehash(two)
    assert "has the same episodes as" in reason(tmp_path, zero, two)
    edit_episodes(two, one(**{"return": 20.0}))
    rehash(two)
    assert "seed 1 is missing" in reason(tmp_path, zero, two)


def verdict_on(path, tmp_path, monkeypatch, table=None, **options):
    """The verdict, where running a policy again gives `table` instead of being done."""
    if table is not None:
        monkeypatch.setattr(reevaluation, "_evaluate", lambda *_: table)
    work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
    work.mkdir()
    return verify.verify(path, work, **options)


def test_the_rerun_decides(run, tmp_path, monkeypatch):
    honest = pq.read_table(run / "episodes.parquet")
    sound = packed(tmp_path, run)
    verdict = verdict_on(sound, tmp_path, monkeypatch, honest, cells=1)
    assert verdict["decision"] == "accepted"
    assert verdict["reruns"][0]["mode"] == "bitwise"
    assert verdict["sample"]["cells"] == 5
    assert len(verdict["sample"]["drawn"]) == 1
    assert verdict["runs"][0]["success"]["torch"] == pytest.approx(np.mean(honest["success"].to_pylist()))

    edit_episodes(run, one(**{"return": 36.0}))  # one return of 320, with all hashes made to fit
    rehash(run)
    verdict = verdict_on(packed(tmp_path, run), tmp_path, monkeypatch, honest)
    assert verdict["decision"] == "refused"
    assert "return of row 7" in verdict["reason"]


def test_the_rerun_on_another_machine(run, tmp_path, monkeypatch):
    """The submission says that it comes from another CPU: the bits may differ, the statistics may not."""
    honest = pq.read_table(run / "episodes.parquet")
    rng = np.random.default_rng(0)
    noisy = pa.array(honest["return"].to_numpy() + rng.normal(0, 0.01, honest.num_rows))
    elsewhere = honest.set_column(honest.column_names.index("return"), "return", noisy)
    other = json.loads((run / "provenance.json").read_text()) | {"cpu": "Another CPU"}
    (run / "provenance.json").write_text(json.dumps(other))
    edit_json(run / "result.json", provenance=other, device="Another CPU")
    sound = packed(tmp_path, run)
    verdict = verdict_on(sound, tmp_path, monkeypatch, elsewhere)
    assert verdict["decision"] == "accepted", verdict["reason"]
    assert verdict["reruns"][0]["mode"] == "statistical"
    assert "CPU" in verdict["reruns"][0]["not_bitwise_because"]
    assert verdict["test"]["tests"] == 12
    assert verdict["test"]["forged_episodes_of_a_cell_that_are_found_where_all_others_agree"] == 15

    edit_episodes(run, win)
    rehash(run)
    verdict = verdict_on(packed(tmp_path, run), tmp_path, monkeypatch, elsewhere)
    assert verdict["decision"] == "refused"
    assert "run again, success is another" in verdict["reason"]


def test_an_evaluation_that_fails_decides_nothing(run, tmp_path, monkeypatch):
    def fail(*_):
        raise reevaluation.Undecided("no such engine here")

    monkeypatch.setattr(reevaluation, "_evaluate", fail)
    assert verdict_on(packed(tmp_path, run), tmp_path, monkeypatch)["decision"] == "undecided"


def test_damaged_bundles_and_foreign_ones_are_refused_with_a_verdict(run, tmp_path, monkeypatch):
    path = packed(tmp_path, run)
    verdict = verdict_on(path, tmp_path, monkeypatch, submitter="somebody else")
    assert verdict["decision"] == "refused"
    assert "submitter 'me'" in verdict["reason"]
    path.write_bytes(path.read_bytes()[:1000])
    verdict = verdict_on(path, tmp_path, monkeypatch)
    assert verdict["decision"] == "refused"
    assert "zip" in verdict["reason"]


def test_which_cells_nobody_knows_before():
    cells = [reevaluation.Unit(f"run{i}", "torch", f"g{k}") for i in range(20) for k in range(1, 6)]
    first = reevaluation.draw(cells, 10, "ab" * 32, "00" * 32)
    assert len(set(first)) == 10
    assert first == reevaluation.draw(cells, 10, "ab" * 32, "00" * 32)
    assert first != reevaluation.draw(cells, 10, "ab" * 32, "01" * 32)
    assert first != reevaluation.draw(cells, 10, "ac" * 32, "00" * 32)
    assert reevaluation.draw(cells, 1000, "ab" * 32, "00" * 32) == cells
    counts = dict.fromkeys(cells, 0)
    for k in range(500):
        for cell in reevaluation.draw(cells, 10, "ab" * 32, f"{k:032x}"):
            counts[cell] += 1
    assert min(counts.values()) > 20  # 50 on average


def test_memory_is_limited():
    with pytest.raises(MemoryError), limited_memory(2**28):
        bytearray(2**30)
    bytearray(2**30)


def test_a_strangers_processes_see_no_secrets(monkeypatch):
    for name in ("WANDB_API_KEY", "GRADUS_DATABASE", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in environment().values()


def test_the_machine_is_part_of_the_provenance():
    assert (
        json.loads((spring_run() / "provenance.json").read_text()).items()
        >= {
            key: value for key, value in provenance.machine().items() if key in ("cpu", "cpu_features", "packages")
        }.items()
    )


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["nothing.zip"], "is not a file"),
        (["{b}", "--cells", "0"], "--cells"),
        (["{b}", "--entropy", "xyz"], "--entropy"),
        (["{b}", "--device", "tpu"], "tpu"),
    ],
)
def test_bad_arguments(tmp_path, argv, why):
    path = tmp_path / "b.zip"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=why):
        verify.main([text.replace("{b}", str(path)) for text in argv])
    assert list(tmp_path.iterdir()) == [path]
