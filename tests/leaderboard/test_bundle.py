"""Bundles from enemies: each refused with a reason, and nothing written outside the folder."""

import hashlib
import io
import json
import os
import pickle
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

import tasks
from leaderboard.data import schema
from leaderboard.submissions import archive, bundle, policy_file, tables
from suite.untrusted import Unusable
from tasks.spec import Term

TEXTS = {"title": "Spring", "submitter": "me", "contact": "me@example.org", "description": ""}
RUN = "runs/0.1.0/toy-reach/ppo/none-r0-torch-smoke/seed0"


def run_files(folder):
    for name in bundle.RUN_FILES:
        (folder / name).write_bytes(f"content of {name}".encode())
    return folder


@pytest.fixture
def sound(tmp_path):
    """A bundle whose files are nonsense, but which is whole."""
    (tmp_path / "run").mkdir()
    out = tmp_path / "b.zip"
    bundle.write(out, TEXTS, "open", {RUN: run_files(tmp_path / "run")})
    return out


def entries(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rewrite(path, files, infos=()):
    """The zip with `files`, the manifest listing all of them with their true hashes."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in files.items()
        if name != "manifest.json"
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, data in files.items():
            if name != "manifest.json":
                archive.writestr(name, data)
        for info, data in infos:
            archive.writestr(info, data)


def refused(path, tmp_path, limits=None):
    """The reason; and nothing but the bundle and its sources may lie anywhere near."""
    box = tmp_path / "box"
    before = set(tmp_path.rglob("*"))
    with pytest.raises(Unusable) as error:
        bundle.read(path, box / "in", limits)
    assert "\n" not in str(error.value)
    assert not (box / "in").exists()
    assert set(tmp_path.rglob("*")) - before <= {box}
    return str(error.value)


def test_equal_runs_give_equal_bytes(sound, tmp_path):
    again = tmp_path / "again.zip"
    os.utime(tmp_path / "run" / "result.json", (0, 0))
    digest = bundle.write(again, TEXTS, "open", {RUN: tmp_path / "run"})
    assert again.read_bytes() == sound.read_bytes()
    opened = bundle.read(again, tmp_path / "in")
    assert opened.sha256 == digest
    assert opened.runs == (RUN,)
    assert (tmp_path / "in" / RUN / "result.json").read_bytes() == b"content of result.json"


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.json", "runs/../../evil.json", "/etc/evil.json", "C:/evil.json", "runs\\..\\evil.json"),
        *(
            f"{RUN}/../result.json",
            f"{RUN}/evil.py",
            f"{RUN}/checkpoint/last.ckpt",
            f"{RUN}/evaluations/../result.json",
        ),
        *(
            f"{RUN}/result.json\0.txt",
            "runs/result.json",
            f"{RUN}/",
            "manifest.json/x",
            f"{RUN}/evaluations/a/b/episodes.parquet",
        ),
    ],
)
def test_names(sound, tmp_path, name):
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    rewrite(sound, entries(sound), [(info, b"evil")])
    reason = refused(sound, tmp_path)
    assert "not a name" in reason or "not a plain file" in reason or "damaged zip" in reason
    assert not list(Path("/etc").glob("evil*"))


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_devices(sound, tmp_path, mode):
    files = entries(sound)
    files.pop(f"{RUN}/policy.safetensors")
    info = zipfile.ZipInfo(f"{RUN}/policy.safetensors")
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    rewrite(sound, files, [(info, b"/etc/passwd")])
    assert "is a link" in refused(sound, tmp_path) or "not a plain file" in refused(sound, tmp_path)


def test_zip_bombs(sound, tmp_path):
    files = entries(sound) | {f"{RUN}/episodes.parquet": bytes(20 * bundle.MIB)}
    with zipfile.ZipFile(sound, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    assert "zip bomb" in refused(sound, tmp_path)
    assert "more than 2 MiB" in refused(sound, tmp_path, bundle.Limits(unpacked=2 * bundle.MIB, ratio=10_000))
    assert "more than 0 MiB" in refused(sound, tmp_path, bundle.Limits(packed=100))
    with zipfile.ZipFile(sound, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", bytes(5 * bundle.MIB))
    assert "more than 4 MiB" in refused(sound, tmp_path, bundle.Limits(ratio=10_000))


def test_sizes_in_headers_that_lie(sound, tmp_path):
    """An entry that says 10 MB where there are 22 bytes, and one that says nothing where there is much."""
    data = bytearray(sound.read_bytes())
    central = data.rindex(b"PK\1\2")
    for size in (10_000_000, 0):
        struct.pack_into("<L", data, central + 24, size)
        sound.write_bytes(data)
        assert "damaged zip" in refused(sound, tmp_path) or "the zip says" in refused(sound, tmp_path)


def test_the_end_record_that_lies(sound, tmp_path):
    data = sound.read_bytes()
    end = len(data) - 22
    huge = data[:end] + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 5, 5, 2**32 - 1, 2**32 - 1, 0)
    for broken in (data[:-1], data[: len(data) // 2], data + b"x", b"#!/bin/sh\n" + data, huge, b"", b"PK\5\6"):
        sound.write_bytes(broken)
        assert "zip" in refused(sound, tmp_path)


def test_too_many_entries(sound, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    assert "entries" in refused(sound, tmp_path)


def test_twice_encrypted_and_strange_packing(sound, tmp_path):
    files = entries(sound)
    info = zipfile.ZipInfo(f"{RUN}/RESULT.json".replace("RESULT", "result"))
    with pytest.warns(UserWarning, match="Duplicate"):
        rewrite(sound, files, [(info, b"{}")])
    assert "twice" in refused(sound, tmp_path)
    with zipfile.ZipFile(sound, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("manifest.json", b"{}")
    assert "packed in another way" in refused(sound, tmp_path)
    rewrite(sound, files)
    data = bytearray(sound.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    sound.write_bytes(data)
    assert "encrypted" in refused(sound, tmp_path)


def test_manifest_and_files_have_to_agree(sound, tmp_path):
    files = entries(sound)
    manifest = json.loads(files["manifest.json"])

    def put(files, manifest):
        with zipfile.ZipFile(sound, "w") as archive:
            for name, data in (files | {"manifest.json": json.dumps(manifest).encode()}).items():
                archive.writestr(name, data)
        return refused(sound, tmp_path)

    assert "is not the file whose SHA-256" in put(files | {f"{RUN}/result.json": b"content of result.jsoN"}, manifest)
    less = {name: data for name, data in files.items() if "policy" not in name}
    assert "not in the bundle" in put(less, manifest)
    assert "not in the manifest" in put(files | {f"{RUN}/progress.parquet": b""}, manifest)
    listed = {name: entry for name, entry in manifest["files"].items() if "policy" not in name}
    assert "has no policy.safetensors" in put(less, manifest | {"files": listed})
    assert "suite version" in put(files, manifest | {"suite_version": "0.0.9"})
    assert "bundle format" in put(files, manifest | {"format": 2})
    assert "division" in put(files, manifest | {"division": "secret"})
    assert '"extra" in manifest.json is unknown' in put(files, manifest | {"extra": "x"})
    assert '"files" in manifest.json' in put(files, manifest | {"files": {}})
    assert '"x" in "files" in manifest.json' in put(files, manifest | {"files": {"x": 3}})
    rewrite(sound, files)
    with zipfile.ZipFile(sound, "a") as archive:
        archive.writestr(f"{RUN}/progress.parquet", b"")
    assert "not in the manifest" in refused(sound, tmp_path)


@pytest.mark.parametrize("field", bundle.TEXTS)
@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a\u202eb", "a\0b", "x" * 2001, None, 7]
)
def test_texts(field, text):
    manifest = {"format": 1, "suite_version": "0.1.0", "division": "open", "files": {"x": 1}, **TEXTS, field: text}
    with pytest.raises(Unusable, match=field):
        bundle.check_manifest(manifest)


SPEC = tasks.get("toy-reach")
LINEAR = {"net.0.weight": np.zeros((2, 6), np.float32), "net.0.bias": np.zeros(2, np.float32)}
MLP = {"format": 1, "kind": "mlp", "layers": [["linear", 6, 2]], "squash": "clip"}


def policy(path, tensors, header):
    path.write_bytes(save(tensors, {"gradus": json.dumps(header)}))
    return path


def wide(width):
    """A hidden layer that takes 4 B x width x envs, however small the file is."""
    sizes = {"net.0.weight": (width, 6), "net.0.bias": width, "net.1.weight": (2, width), "net.1.bias": 2}
    return {name: np.zeros(size, np.float32) for name, size in sizes.items()}


def test_a_policy_of_what_only_a_critic_may_see_is_refused(tmp_path):
    spec = replace(SPEC, critic_observations=(Term("mass", 2, "[kg]", "of a body"),))
    tensors = {"net.0.weight": np.zeros((2, 8), np.float32), "net.0.bias": np.zeros(2, np.float32)}
    file = policy(tmp_path / "p", tensors, MLP | {"layers": [["linear", 8, 2]]})
    with pytest.raises(Unusable, match="a policy may see 6"):
        policy_file.check(file, spec)
    assert policy_file.check(policy(tmp_path / "p", LINEAR, MLP | {"obs_dim": 8}), spec) == "mlp"


def test_policies_that_can_act(tmp_path):
    path = tmp_path / "policy.safetensors"
    assert policy_file.check(policy(path, LINEAR, MLP), SPEC) == "mlp"
    normalised = LINEAR | {"obs_mean": np.zeros(6), "obs_var": np.ones(6)}
    deep = normalised | {"net.2.weight": np.ones(2, np.float32), "net.2.bias": np.ones(2, np.float32)}
    layers = [["linear", 6, 2], ["elu"], ["layer_norm", 2]]
    assert policy_file.check(policy(path, deep, MLP | {"layers": layers}), SPEC) == "mlp"
    table = LINEAR | {"actions": np.zeros((2, 2), np.float32)}
    assert policy_file.check(policy(path, table, MLP | {"kind": "discrete"}), SPEC) == "discrete"
    assert (
        policy_file.check(policy(path, {}, {"format": 1, "kind": "zero", "obs_dim": 6, "action_dim": 2}), SPEC)
        == "zero"
    )


@pytest.mark.parametrize(
    ("tensors", "header", "reason"),
    [
        (LINEAR | {"net.0.bias": np.array([0, np.nan], np.float32)}, MLP, "NaN"),
        (LINEAR | {"net.0.bias": np.zeros(3, np.float32)}, MLP, "shape"),
        (LINEAR | {"net.0.bias": np.zeros(2, np.int64)}, MLP, "int64"),
        (LINEAR | {"obs_var": -np.ones(6), "obs_mean": np.zeros(6)}, MLP, "negative"),
        (LINEAR | {"obs_mean": np.zeros(6)}, MLP, "obs_var"),
        (LINEAR | {"more": np.zeros(6)}, MLP, "unknown tensor"),
        (LINEAR, MLP | {"kind": "pickle"}, "does not match"),
        (LINEAR, MLP | {"format": 2}, "format"),
        (LINEAR, MLP | {"squash": "exec"}, "squash"),
        (LINEAR, MLP | {"layers": [["linear", 6, 10**12]]}, "layer"),
        (LINEAR, MLP | {"layers": [["linear", 6, 2], ["lambda"]]}, "layer"),
        (LINEAR, MLP | {"layers": [["elu"]] * 100}, "at most 64"),
        (LINEAR, MLP | {"layers": [["linear", 48, 2]]}, "shape"),
        (LINEAR, MLP | {"obs_dim": 9}, "another task"),
        ({}, {"format": 1, "kind": "zero", "obs_dim": 48, "action_dim": 2}, "another task"),
        ({}, {"format": 1, "kind": "random", "obs_dim": 6, "action_dim": 2, "seed": -1}, "seed"),
        (LINEAR, MLP | {"layers": [["linear", 6.0, 2]]}, "layer 0"),
        (LINEAR, MLP | {"format": True}, "format"),
        (LINEAR | {"actions": np.full((2, 2), 20, np.float32)}, MLP | {"kind": "discrete"}, "action space"),
        (LINEAR | {"actions": np.zeros((2, 2))}, MLP | {"kind": "discrete"}, "float64"),
        (LINEAR | {"actions": np.zeros((2, 3), np.float32)}, MLP | {"kind": "discrete"}, "3 actions"),
        (wide(10**6), MLP | {"layers": [["linear", 6, 10**6], ["linear", 10**6, 2]]}, "layer 0"),
    ],
)
def test_policies_that_cannot(tmp_path, tensors, header, reason):
    with pytest.raises(Unusable, match=reason):
        policy_file.check(policy(tmp_path / "policy.safetensors", tensors, header), SPEC)


def test_another_tasks_policy(tmp_path):
    with pytest.raises(Unusable, match="another task"):
        policy_file.check(policy(tmp_path / "policy.safetensors", LINEAR, MLP), tasks.get("go2-velocity"))


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/evil-was-here",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Evil()),
        struct.pack("<Q", 10 * 2**30) + b"{}",  # a header of 10 GB
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 100) + b"{" * 100,
        b"",
        b"\0" * 7,
    ],
)
def test_what_is_no_safetensors_file(tmp_path, data):
    path = tmp_path / "policy.safetensors"
    path.write_bytes(data)
    with pytest.raises(Unusable, match="safetensors"):
        policy_file.check(path, SPEC)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # what torch.save writes
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(Unusable, match="safetensors"):
        policy_file.check(path, SPEC)
    assert not Path("/tmp/evil-was-here").exists()


def test_parquet_within_limits(tmp_path):
    path = tmp_path / "t.parquet"
    long = pa.array(["x" * 100_000] * 1000)  # a dictionary of one entry: small on the disk, 100 MB in memory
    pq.write_table(pa.table({"a": long}), path)
    assert path.stat().st_size < 50_000
    with pytest.raises(Unusable, match="a text of 100000 bytes"):
        tables.read_table(path)
    for table, reason in (
        (pa.table({"a": [[1, 2]]}), "type"),
        (pa.table({f"c{i}": [0] for i in range(201)}), "columns"),
        (pa.table({"a": np.zeros(500_001, np.int8)}), "rows"),
    ):
        pq.write_table(table, path)
        with pytest.raises(Unusable, match=reason):
            tables.read_table(path)
    pq.write_table(pa.table({"a": np.zeros(1000)}), path, compression="zstd")
    with pytest.raises(Unusable, match="ZSTD"):
        tables.read_table(path)
    for data in (b"", b"PAR1", b"PAR1" * 100, path.read_bytes()[:-20]):
        path.write_bytes(data)
        with pytest.raises(Unusable, match="damaged"):
            tables.read_table(path)


def test_parquet_that_crashes_its_reader(tmp_path):
    """One byte of the footer, and Arrow ends the process that reads it: so that is never this one."""
    path = tmp_path / "runs" / "t.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": ["x", "y"]}), path)
    tables.probe(tmp_path)
    data = bytearray(path.read_bytes())
    data[-500] = 0
    path.write_bytes(data)
    with pytest.raises(Unusable, match=r"runs/t.parquet is damaged: it crashes what reads it"):
        tables.probe(tmp_path)
    path.write_bytes(b"PAR1")
    with pytest.raises(Unusable, match=r"runs/t.parquet: t.parquet is damaged"):
        tables.probe(tmp_path)


def test_a_reader_that_crashes_at_its_own_end_has_read_all(tmp_path, monkeypatch):
    """Seen once in some hundred runs: a sound bundle was refused for it."""
    (tmp_path / "sitecustomize.py").write_text("import atexit, os\natexit.register(os.abort)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    pq.write_table(pa.table({"a": [1.0, 2.0]}), tmp_path / "t.parquet")
    tables.probe(tmp_path)


@pytest.mark.parametrize(
    ("link", "good"),
    [
        ("https://example.org/a?b=c#d", True),
        ("", True),
        ("http://example.org", False),
        ("javascript:alert(1)", False),
        ("https://", False),
        ('https://x"onclick=1', False),
        ("https://a b", False),
        ("https://a\n", False),
        ("https://" + "a" * 400, False),
    ],
)
@pytest.mark.parametrize("name", schema.LINKS)
def test_links_of_a_bundle(name, link, good):
    files = {"x": {"sha256": "0" * 64, "size": 1}}
    manifest = {"format": 1, "suite_version": "0.1.0", "division": "open", "files": files, **TEXTS, name: link}
    if good:
        bundle.check_manifest(manifest)
    else:
        with pytest.raises(Unusable, match=name):
            bundle.check_manifest(manifest)
