"""Where a stranger's runs come in: what is wrong is refused in one line that follows from the files alone."""

import json
import os
import shutil
import signal
import struct
import subprocess
import time
import zipfile
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from omegaconf import OmegaConf
from safetensors.numpy import save

import tasks
from leaderboard.board import board
from leaderboard.submissions import archive, bundle, checks, policy_file, tables
from suite.plan import config as configs
from suite.runs.rundir import sha256
from suite.untrusted import Unusable
from tasks.spec import GRADES
from tests.helpers.made_runs import edit_json, make_run, pack, place, write_yaml


def refused(folder, division="open"):
    """Why a run is refused."""
    with pytest.raises(Unusable) as error:
        checks._check_run(folder, place(folder), division)
    assert "\n" not in str(error.value)
    return str(error.value)


def rehash(folder):
    edit_json(folder / "result.json", episodes_sha256=sha256(folder / "episodes.parquet"))


def moved(folder, **result):
    """The run with other fields of result.json, at the place that they say."""
    edit_json(folder / "result.json", **result)
    target = folder.parents[4] / "moved" / checks.folder_of(json.loads((folder / "result.json").read_text()))
    target.parent.mkdir(parents=True)
    shutil.move(folder, target)
    return target


@pytest.mark.parametrize(
    ("task", "engine", "evaluations"),
    [("toy-reach", "torch", []), ("cartpole-balance", "ovphysx", ["newton_mjwarp"])],
)
def test_an_honest_run_is_taken(tmp_path, task, engine, evaluations):
    folder = make_run(tmp_path, task=task, engine=engine)
    found = checks._check_run(folder, place(folder), "open")
    assert sorted(found.episodes) == sorted([engine, *evaluations])


def test_what_evaluate_reads_of_a_foreign_configuration_is_what_the_result_says(tmp_path):
    other = make_run(tmp_path / "a", task="cartpole-balance", engine="ovphysx", config={"engine": "newton_mjwarp"})
    assert "engine in config.yaml is not what result.json says" in refused(other)
    folder = make_run(tmp_path / "b")
    content = yaml.safe_load((folder / "config.yaml").read_text())
    for key in ("engine", "task", "eval", "suite_version", "budget", "seed"):
        write_yaml(folder / "config.yaml", {k: v for k, v in content.items() if k != key})
        assert f'config.yaml has no "{key}"' in refused(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"engine": "???"}, "not resolved"),
        ({"engine": "${oc.env:HOME}"}, "not resolved"),
        ({"init": "${oc.env:HOME}"}, "not resolved"),
        ({"seed": 0.0}, '"seed" in config.yaml has to be a valid integer'),
        ({"seed": False}, '"seed" in config.yaml has to be a valid integer'),
        ({"agent": {"a": {"b": 1}}}, "expected a number"),
        ({"eval": None}, '"eval" in config.yaml'),
        ({"command": "x" * 10_001}, "at most 10000 characters"),
    ],
)
def test_configurations(tmp_path, change, why):
    assert why in refused(make_run(tmp_path, config=change))


@pytest.mark.parametrize("key", ["episodes_per_env", "episodes_per_grade", "seed"])
def test_a_float_is_no_integer(tmp_path, key):
    folder = make_run(tmp_path)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    content["eval"][key] = float(content["eval"][key])
    write_yaml(folder / "config.yaml", content)
    assert f'"{key}" in "eval" in config.yaml has to be a valid integer' in refused(folder)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("engine: torch", 'engine: "\\x24{oc.env:PATH}"', "not resolved"),
        ("command: made up", 'command: "\\x24{oc.env:HOME}"', "not resolved"),
        ("init: ''", "init: 2001-01-01", "no text"),
    ],
)
def test_escapes_hide_nothing(tmp_path, old, new, why):
    folder = make_run(tmp_path)
    text = (folder / "config.yaml").read_text()
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, new))
    assert why in refused(folder)


def test_deep_yaml_is_refused_before_it_is_built(tmp_path):
    folder = make_run(tmp_path)
    text = (folder / "config.yaml").read_text()
    for deep in ("z:\n  " + "- " * 50_000 + "x\n", "z: " + "[" * 50_000 + "\n"):
        (folder / "config.yaml").write_text(text + deep)
        start = time.process_time()
        assert "more than 32 levels" in refused(folder)
        assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wall_time_s": 1e308}, "less than 10000000000"),
        ({"evaluation_time_s": 1.7e308}, "less than 10000000000"),
        ({"energy_j": 1.7e308}, "energy_j"),
        ({"env_steps": 2**63 - 1}, "env_steps"),
        ({"env_steps": 1000.0}, "a valid integer"),
        ({"overrides": {f"k{i}": "x" for i in range(101)}}, "at most 100 items"),
        ({"overrides": {f"k{i}": "x" * 100 for i in range(90)}}, "at most 8000 characters"),
        ({"overrides": {"multi.tasks": 5}}, "multi.tasks has to be a text"),
        ({"overrides": {"train.init": [1]}}, "train.init has to be a text"),
        ({"device": "x" * 201}, "at most 200 characters"),
        ({"command": "${oc.env:HOME}"}, "not resolved"),
        ({"z": [[[]]]}, '"z" in result.json is unknown'),
        ({"return": dict.fromkeys(GRADES, 1e40)}, '"return" in result.json'),
    ],
)
def test_results(tmp_path, change, why):
    assert why in refused(make_run(tmp_path, result=change))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ended": "9999-12-31T23:59:59-12:00"}, "a UTC time from 2020 to 2099"),
        ({"ended": "0001-01-01T00:00:00+14:00"}, "a UTC time from 2020 to 2099"),
        ({"ended": "2099-01-01T00:00:00+00:00"}, "has not come yet"),
        ({"cpu": []}, '"cpu" in "provenance" in result.json has to be a valid string'),
        ({"packages": {"a": None}}, '"packages" in "provenance"'),
        ({"gpus": ["x"] * 65}, '"gpus" in "provenance"'),
        ({"environment": {"A": "x" * 1001}}, '"environment" in "provenance"'),
    ],
)
def test_provenance(tmp_path, change, why):
    folder = make_run(tmp_path)
    provenance = json.loads((folder / "provenance.json").read_text()) | change
    (folder / "provenance.json").write_text(json.dumps(provenance))
    edit_json(folder / "result.json", provenance=provenance)
    assert why in refused(folder)


def test_files_have_a_size_that_files_of_runs_have(tmp_path):
    folder = make_run(tmp_path)
    text = (folder / "result.json").read_text()
    (folder / "result.json").write_text(text + " " * 300_000)
    assert "result.json is larger than 256 KiB" in refused(folder)
    (folder / "result.json").write_text(text[:-2] + ', "z": ' + "[" * 1400 + "]" * 1400 + "}")
    assert "more than 32 levels" in refused(folder)


def test_two_seeds_in_which_all_is_as_large_as_it_may_be_make_a_page(tmp_path):
    """Sums of what is let in have to be numbers."""
    for seed in (0, 1):
        folder = make_run(tmp_path, seed=seed, result={"wall_time_s": 9e9, "evaluation_time_s": 9e9, "energy_j": 1e15})
        table = pq.read_table(folder / "episodes.parquet")
        rows = table.to_pylist()
        for k in (7, 9):
            rows[k] |= {"return": 3e38, "termination": "non_finite"}
            rows[k] |= {"success": False, "success_once": False, "success_at_end": False}
        edit_json(folder / "result.json", **_aggregates(rows))
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "episodes.parquet")
        rehash(folder)
        checks._check_run(folder, place(folder), "open")
    found = board.load(tmp_path)
    assert not found.skipped
    assert np.isfinite([run.evaluation.returns for run in found.runs]).all()


def _aggregates(rows):
    from suite.runs.evaluation import summary

    return summary([row | {"violations": {}} for row in rows])


def test_test_tasks_are_for_tests(tmp_path, monkeypatch):
    folder = make_run(tmp_path)
    monkeypatch.delenv(checks.TEST_TASKS)
    assert "the task 'toy-reach' is none of this suite version" in refused(folder)
    assert checks.names_of_tasks() == tasks.names()


def test_one_run_is_not_several_seeds(tmp_path):
    """Another Parquet writer makes other bytes of the same episodes."""
    first = make_run(tmp_path / "a")
    again = first.with_name("seed1")
    shutil.copytree(first, again)
    table = pq.read_table(first / "episodes.parquet")
    pq.write_table(table, again / "episodes.parquet", row_group_size=100)
    write_yaml(again / "config.yaml", yaml.safe_load((first / "config.yaml").read_text()) | {"seed": 1})
    edit_json(again / "result.json", seed=1, env_steps=0)
    rehash(again)
    opened = bundle.read(pack(tmp_path / "b.zip", first, again), tmp_path / "in")
    with pytest.raises(Unusable, match="seed1 has the same policy as"):
        checks.check(opened)


def test_a_policy_may_stand_in_several_budgets_of_its_own_bundle(tmp_path):
    folder = make_run(tmp_path)
    one = checks._check_run(folder, place(folder), "open")
    other = replace(one, run=replace(one.run, entry=replace(one.run.entry, budget="quick")))
    checks._check_set([one, other])
    with pytest.raises(Unusable, match="the same policy"):
        checks._check_set([one, one])


def test_a_large_seed_is_counted_and_not_enumerated(tmp_path):
    folder = make_run(tmp_path, seed=999_999_999)
    opened = bundle.read(pack(tmp_path / "b.zip", folder), tmp_path / "in")
    with pytest.raises(Unusable, match="seed 0 is missing"):
        checks.check(opened)


def closed(tmp_path, steps=None, layers=None, obs_norm=None, overrides=None, **train):
    """A run that says that the suite's PPO trained it on the toy task, with what is given in place of the truth."""
    from suite.reproduce import config_of

    folder = make_run(tmp_path, algo="ppo")
    result = json.loads((folder / "result.json").read_text())
    config = config_of(result | {"overrides": overrides or {}})
    content = OmegaConf.to_container(config, resolve=True)
    write_yaml(folder / "config.yaml", content)
    spec, agent = tasks.get("toy-reach"), config.agent
    sizes = [spec.policy_dim, *(agent.hidden_sizes if layers is None else layers), spec.action_dim]
    header, tensors = [], {}
    for k, (width, out) in enumerate(pairwise(sizes)):
        tensors[f"net.{len(header)}.weight"] = np.zeros((out, width), np.float32)
        tensors[f"net.{len(header)}.bias"] = np.zeros(out, np.float32)
        header += [["linear", width, out], *([[agent.activation]] if k < len(sizes) - 2 else [])]
    if agent.obs_norm if obs_norm is None else obs_norm:
        tensors |= {"obs_mean": np.zeros(spec.policy_dim), "obs_var": np.ones(spec.policy_dim)}
    squash = "tanh" if agent.bounded_mean else "clip"
    header = {"format": 1, "kind": "mlp", "layers": header, "squash": squash}
    (folder / "policy.safetensors").write_bytes(save(tensors, {"gradus": json.dumps(header)}))
    iteration = config.train.num_envs * agent.horizon
    steps = -(-config.train.env_steps // iteration) * iteration if steps is None else steps
    row = {"env_steps": [steps], "wall_time_s": [0.0], "episodes": [0.0], "success_mean": [float("nan")]}
    pq.write_table(pa.table(row), folder / "progress.parquet")
    hashes = {f"{name}_sha256": sha256(folder / file) for name, file in _HASHED.items()}
    return moved(
        folder,
        **hashes,
        env_steps=steps,
        num_envs=train.get("num_envs", config.train.num_envs),
        overrides=configs.changes(configs.defaults(spec, "ppo", "smoke"), config),
    )


_HASHED = {"policy": "policy.safetensors", "progress": "progress.parquet"}


def test_the_closed_division_takes_what_the_suite_trains(tmp_path):
    for name, changed in (("a", {}), ("b", {"train.num_envs": 128, "agent.hidden_sizes": [32]})):
        folder = closed(tmp_path / name, overrides=changed)
        checks._check_run(folder, place(folder), "closed")


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"steps": 200_000}, "it was trained for 200000 env steps"),
        ({"steps": 90_000}, "it was trained for 90000 env steps"),
        (
            {"overrides": {"train.num_envs": 1000, "agent.horizon": 64_000}},
            "an iteration has 64000000 env steps",
        ),
        ({"layers": []}, "its layers is"),
        ({"layers": [2048, 2048]}, "its layers is"),
        ({"obs_norm": "other"}, "obs_norm"),
        ({"num_envs": 7}, "it was trained on 7 envs"),
    ],
    ids=["more", "less", "one-iteration", "linear", "wide", "norm", "envs"],
)
def test_the_closed_division_takes_nothing_else(tmp_path, lie, why):
    if lie.get("obs_norm") == "other":
        lie = {"obs_norm": not configs.defaults(tasks.get("toy-reach"), "ppo", "smoke").agent.obs_norm}
    assert why in refused(closed(tmp_path, **lie), "closed")


# --- the zip


def parts(path):
    """A bundle's files with their headers, its table of contents, its end record."""
    data = path.read_bytes()
    entries, length, start = struct.unpack("<H2L", data[-12:-2])
    return data[:start], data[start : start + length], data[-22:], entries


@pytest.fixture
def packed(tmp_path):
    return pack(tmp_path / "b.zip", make_run(tmp_path / "run"))


def not_taken(path, tmp_path):
    with pytest.raises(Unusable) as error:
        bundle.read(path, tmp_path / "box")
    assert not (tmp_path / "box").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_zip64_record_cannot_hide_a_table_of_contents(packed, tmp_path):
    body, table, _, entries = parts(packed)
    at = len(body)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, len(table), at)
    tail = record + struct.pack("<4sLQL", b"PK\6\7", 0, at + len(table), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(tail), at + len(table), 0)
    packed.write_bytes(body + table + tail + end)
    assert "zip64" in not_taken(packed, tmp_path)


def test_the_end_record_counts_what_there_is(packed, tmp_path):
    body, table, end, entries = parts(packed)
    packed.write_bytes(body + table + end[:8] + struct.pack("<2H", entries - 1, entries - 1) + end[12:])
    assert "two tables of contents" in not_taken(packed, tmp_path)


def test_nothing_lies_between_the_files(packed, tmp_path):
    body, table, end, _ = parts(packed)
    packed.write_bytes(body + b"hidden" + table + end[:16] + struct.pack("<L", len(body) + 6) + end[20:])
    assert "something between" in not_taken(packed, tmp_path)


@pytest.mark.parametrize(("at", "value"), [(6, 1), (6, 8), (8, 8), (14, 1), (18, 3), (28, 4), (30, ord("x"))])
def test_the_headers_before_the_files_say_the_same(packed, tmp_path, at, value):
    """Flags (encrypted, sizes behind the data), method, checksum, size, extra fields, name."""
    data = bytearray(packed.read_bytes())
    data[at] ^= value
    packed.write_bytes(data)
    assert "is another than in the table of contents" in not_taken(packed, tmp_path)


@pytest.mark.parametrize(("at", "value"), [(8, 8), (8, 1), (30, 4), (32, 4)])
def test_flags_extra_fields_and_comments(packed, tmp_path, at, value):
    data = bytearray(packed.read_bytes())
    first = data.index(b"PK\1\2")
    data[first + at] |= value
    packed.write_bytes(data)
    why = not_taken(packed, tmp_path)
    assert any(word in why for word in ("zip", "extra fields", "is encrypted"))


def test_bytes_behind_a_packed_file(packed, tmp_path):
    with zipfile.ZipFile(packed) as source:
        files = {info.filename: source.read(info) for info in source.infolist()}
    packer = zlib.compressobj(wbits=-15)
    manifest = files["manifest.json"]
    stream = packer.compress(manifest) + packer.flush()

    def write(stream):
        name = b"manifest.json"
        sizes = (zlib.crc32(manifest), len(stream), len(manifest), len(name))
        header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0x21, *sizes, 0) + name
        entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0x21, *sizes, 0, 0, 0, 0, 0, 0) + name
        body = header + stream
        packed.write_bytes(body + entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(body), 0))
        return not_taken(packed, tmp_path)

    assert "is in the manifest, but not in the bundle" in write(stream)
    assert "bytes behind its end" in write(stream + b"hidden")
    assert "cut off" in write(stream[:-2])
    assert "another checksum" in write(packer_of(manifest[:-1] + b"x"))


def packer_of(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def test_a_full_disk_says_nothing_about_a_bundle(packed, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_extract", full)
    with pytest.raises(OSError, match="No space left"):
        bundle.read(packed, tmp_path / "box")
    assert not (tmp_path / "box").exists()


# --- Parquet


def varint(value, width=0):
    value, out = value << 1, []
    while value or len(out) < max(width, 1):
        out.append(value & 127)
        value >>= 7
    return bytes([b | 128 for b in out[:-1]] + [out[-1]])


def test_row_groups_have_no_more_rows_than_the_file_says(tmp_path):
    file, count = tmp_path / "t.parquet", 600_000
    with pq.ParquetWriter(file, pa.schema([("a", pa.float64())])) as writer:
        for _ in range(3):
            writer.write_table(pa.table({"a": np.zeros(count // 3)}))
    data, true = bytearray(file.read_bytes()), varint(count)
    at = data.index(true, len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
    data[at : at + len(true)] = varint(320, len(true))
    file.write_bytes(data)
    assert pq.ParquetFile(file).metadata.num_rows == 320
    with pytest.raises(Unusable, match="other numbers of rows"):
        tables.read_table(file)
    pq.write_table(pa.table({"a": np.zeros(2000)}), file, row_group_size=1)
    with pytest.raises(Unusable, match="row groups"):
        tables.read_table(file)


@pytest.mark.parametrize("column", ["engine", "cell", "termination"])
def test_texts_that_are_not_utf8_cost_one_run(tmp_path, column):
    folder, _ = make_run(tmp_path), make_run(tmp_path, algo="honest")
    table = pq.read_table(folder / "episodes.parquet")
    n = table.num_rows
    offsets = np.arange(0, 5 * n + 1, 5, dtype=np.int32).tobytes()
    bad = pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(b"torc\xff" * n)])
    table = table.set_column(table.column_names.index(column), column, bad)
    pq.write_table(table, folder / "episodes.parquet")
    rehash(folder)
    assert "episodes.parquet" in refused(folder)
    with pytest.raises(Unusable, match="damaged"):
        tables.read_table(folder / "episodes.parquet")
    found = board.load(tmp_path)
    assert [run.entry.algo for run in found.runs] == (["honest"] if column != "termination" else ["honest", "mine"])


@pytest.mark.parametrize(
    ("ended_by", "blamed"), [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGSEGV, True)]
)
def test_only_a_crash_blames_the_table(tmp_path, monkeypatch, ended_by, blamed):
    """The system kills processes where memory is short; that says nothing about the file."""
    pq.write_table(pa.table({"a": [1.0]}), tmp_path / "t.parquet")
    run = subprocess.run

    def killed(*args, **kwargs):
        done = run(*args, **kwargs)
        return subprocess.CompletedProcess(done.args, -ended_by, json.dumps({"file": "t.parquet"}), "")

    monkeypatch.setattr(tables.subprocess, "run", killed)
    with pytest.raises(Unusable if blamed else ChildProcessError, match=r"crashes what reads it|signal"):
        tables.probe(tmp_path)


# --- keys that are there twice


def test_keys_that_are_there_twice(packed, tmp_path):
    folder = make_run(tmp_path / "again")
    for name in ("result.json", "provenance.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("{", '{"command": "x",', 1))
        assert "has the key 'command' twice" in refused(folder)
        (folder / name).write_text(text)
    policy = folder / "policy.safetensors"
    data = policy.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for twice in (
        json.dumps(header).replace("{", '{"net.0.bias": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]},', 1),
        json.dumps(
            header | {"__metadata__": {"gradus": header["__metadata__"]["gradus"].replace("{", '{"kind": "mlp",', 1)}}
        ),
    ):
        policy.write_bytes(len(twice).to_bytes(8, "little") + twice.encode() + data[8 + length :])
        with pytest.raises(Unusable, match="twice"):
            policy_file.check(policy, tasks.get("toy-reach"))
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text + "seed: 0\n")
    assert "twice" in refused(folder)


def test_links_and_pipes_are_not_read(tmp_path):
    folder = make_run(tmp_path)
    for name in ("result.json", "config.yaml", "provenance.json"):
        kept = folder / name
        away = tmp_path / name
        kept.rename(away)
        kept.symlink_to(away)
        assert f"{name} is a link" in refused(folder)
        kept.unlink()
        os.mkfifo(kept)
        assert f"{name} is not a plain file" in refused(folder)
        kept.unlink()
        away.rename(kept)
