"""Bundles that are damaged or hostile: taken, or refused in one line; never another exception, a crash or a hang.

Each input is made from a run that is sound. What may crash its reader is read as the verifier reads it, in a process of
its own; all else is checked here, where an exception that is not `Unusable` fails the test.
"""

import copy
import json
import shutil
import struct
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.data import schema
from leaderboard.submissions import bundle, checks
from leaderboard.submissions.isolation import environment
from suite.runs.rundir import sha256
from suite.untrusted import Unusable, load_json, load_yaml
from tests.helpers.made_runs import make_run, pack, place

LONGEST_S = 10  # [s] of CPU for one input

TEXTS = st.sampled_from(
    [
        *("", "x", "???", "${oc.env:HOME}", "none", "torch", "ovphysx", "nominal", "quick", "a\nb", "a\0b", "\u202e"),
        *("9" * 50, "x" * 20_000, "2026-11-20T10:00:00+00:00", "9999-12-31T23:59:59-12:00", "../../etc", "f" * 64),
        *("toy-reach+toy-line", "=1+1", "<b>", "1e400", "[/bold]", "\ud800", "${", "g1", "all/mixed"),
    ]
)
NUMBERS = st.sampled_from(
    [0, 1, 2, -1, 2.0, 0.5, 1e308, -1e308, 5e-324, 2**31, 2**53, 2**62, 2**63, 2**64, 10**40, True, False, 1e38, 3.5e38]
)
KEYS = st.sampled_from(
    [
        *("x", "g1", "engine", "train.init", "multi.tasks", "agent.gamma", "train.num_envs", "agent.hidden_sizes"),
        *("ended", "name", "schema", "eval", "seed", "all/mixed", "curriculum.target", "curriculum.factors", "a b", ""),
    ]
)
VALUES = st.recursive(
    st.none() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
EDITS = st.lists(
    st.tuples(st.sampled_from(["set", "set", "set", "delete", "add"]), st.integers(0, 10**6), KEYS, VALUES),
    min_size=1,
    max_size=3,
)
DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["change", "change", "cut", "insert", "copy", "number"]),
        st.floats(0, 1),  # where, as a share of the length
        st.sampled_from(["anywhere", "end"]),
        st.integers(0, 2**32 - 1),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A folder with sound runs of two tasks."""
    folder = tmp_path_factory.mktemp("fuzz")
    make_run(folder / "toy")
    make_run(folder / "cart", task="cartpole-balance", engine="ovphysx")
    return folder


@pytest.fixture(scope="module")
def run(box):
    """The folder of a run with an evaluation on another engine, and its files."""
    return next((box / "cart").glob("*/*/*/*/seed0"))


@pytest.fixture(scope="module")
def files(run):
    """Sound content of the run's files."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def outcome(call, *arguments):
    """What is said about an input, "" where it is taken; nothing else may come of it, and not after a long time."""
    start = time.process_time()
    try:
        call(*arguments)
        said = ""
    except Unusable as error:
        said = str(error)
        assert said
        assert "\n" not in said
        assert len(said) < 2000
        said.encode()  # can be written anywhere
    assert time.process_time() - start < LONGEST_S
    return said


def damaged(data, damage):
    """Bytes changed, cut out, put in, copied to another place, or taken for a number."""
    data = bytearray(data)
    for kind, share, where, number, inserted in damage:
        size = len(data)
        at = int(share * (size - 1)) if where == "anywhere" else max(0, size - 1 - int(share * min(size, 300)))
        if kind == "change":
            data[at : at + 1] = inserted[:1]
        elif kind == "cut":
            del data[at : at + 1 + number % 50]
        elif kind == "insert":
            data[at:at] = inserted
        elif kind == "copy":
            data[at:at] = data[number % max(1, size) :][: number % 200]
        else:
            data[at : at + 4] = struct.pack("<L", number if number % 3 else (0, 1, 2**32 - 1, 2**31)[number % 4])
        if not data:
            return b""
    return bytes(data)


def places(value):
    """Every mapping and list in a document with each of its keys."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def edited(document, edits):
    """A document in which values were replaced, deleted and put in."""
    document = copy.deepcopy(document)
    for kind, number, key, value in edits:
        found = list(places(document))
        if not found:
            return value
        # The values of the first levels are as likely as the many that lie in the cells.
        top = [entry for entry in found if entry[0] is document]
        inside, name = (top if number % 2 else found)[number // 2 % len(top if number % 2 else found)]
        if kind == "delete":
            del inside[name]
        elif kind == "add" and isinstance(inside, dict):
            inside[key] = copy.deepcopy(value)
        else:
            inside[name] = copy.deepcopy(value)
    return document


# --- the zip


def read_bundle(path, target):
    try:
        bundle.read(path, target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


@given(damage=DAMAGE, squeezed=st.booleans())
def test_fuzz_damaged_zips(box, damage, squeezed):
    """Whatever comes out, nothing is written outside of its folder, and nothing is left of what is refused."""
    path = box / "damaged.zip"
    if not (box / "stored.zip").exists():
        pack(box / "stored.zip", next((box / "toy").glob("*/*/*/*/seed0")))
        with zipfile.ZipFile(box / "stored.zip") as stored, zipfile.ZipFile(box / "deflated.zip", "w", 8) as deflated:
            for info in stored.infolist():
                deflated.writestr(info.filename, stored.read(info), zipfile.ZIP_DEFLATED)
    whole = (box / ("deflated.zip" if squeezed else "stored.zip")).read_bytes()
    data = damaged(whole, damage)
    path.write_bytes(data)
    before = {entry.name for entry in box.iterdir()}
    said = outcome(read_bundle, path, box / "unpacked")
    assert said or data == whole or _same_files(path, box / "stored.zip")
    assert {entry.name for entry in box.iterdir()} == before


def _same_files(one, other):
    """Times in headers may differ, what is unpacked may not."""
    with zipfile.ZipFile(one) as a, zipfile.ZipFile(other) as b:
        return {i.filename: a.read(i) for i in a.infolist()} == {i.filename: b.read(i) for i in b.infolist()}


ENTRY_NAMES = st.sampled_from(
    [
        *(
            "manifest.json",
            "runs/0.1.0/a/b/c/seed0/result.json",
            "../x",
            "/etc/x",
            "runs/../../x",
            "",
            "a\\b",
            "x" * 500,
        ),
        *("runs/0.1.0/a/b/c/seed0/", "runs/0.1.0/a/b/c/seed0/result.json\0.txt", "MANIFEST.JSON", "\u212a.json"),
    ]
)
ENTRIES = st.lists(
    st.tuples(
        ENTRY_NAMES,
        st.binary(max_size=40) | st.sampled_from([b"{}", b'{"format": 1}', bytes(2000)]),
        st.sampled_from([0, 8, 0, 8, 12, 99]),  # method
        st.sampled_from([0, 0, 0, 1, 8, 0x800, 0x41, 0x2000]),  # flags
        st.sampled_from([0, 0, 0, 1, -1, 2**31]),  # what the sizes in the table are wrong by
        st.sampled_from([0, 0, 0, 1, -30, 2**31]),  # what the place is wrong by
        st.sampled_from([b"", b"", b"\1\0\x08\0" + b"\1" * 8, b"up\1\0\1", b"\xff"]),  # extra fields
        st.sampled_from([0, 0, 0o120777, 0o010644, 0o040755, 0o100644]),  # kind of file
    ),
    max_size=4,
)


@given(entries=ENTRIES, before=st.sampled_from([b"", b"", b"#!"]), zip64=st.sampled_from([False, False, True]))
def test_fuzz_made_up_zips(box, entries, before, zip64):
    """Headers and tables of contents that contradict themselves and each other."""
    body, table = before, b""
    for name, data, method, flags, size_off, place_off, extra, mode in entries:
        name = name.encode()[:60_000]
        packer = zlib.compressobj(wbits=-15)
        stream = packer.compress(data) + packer.flush() if method == 8 else data
        sizes = (zlib.crc32(data), max(0, len(stream) + size_off) % 2**32, max(0, len(data) + size_off) % 2**32)
        at = max(0, len(body) + place_off) % 2**32
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 0x21, *sizes, len(name), 0) + name + stream
        fields = (len(name), len(extra), 0, 0, 0, mode << 16, at)
        table += struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, flags, method, 0, 0x21, *sizes, *fields)
        table += name + extra
    tail = b""
    if zip64:
        count = len(entries)
        tail = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(table), len(body))
        tail += struct.pack("<4sLQL", b"PK\6\7", 0, len(body) + len(table), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(table) + len(tail), len(body), 0)
    path = box / "damaged.zip"
    path.write_bytes(body + table + tail + end)
    assert outcome(read_bundle, path, box / "unpacked")


# --- JSON and YAML


@given(name=st.sampled_from(["result.json", "provenance.json", "evaluation"]), edits=EDITS, alike=st.booleans())
def test_fuzz_wrong_values_in_json(run, files, name, edits, alike):
    """Any value at any place, also where both files that have it say the same."""
    name = "evaluations/newton_mjwarp/evaluation.json" if name == "evaluation" else name
    document = edited(json.loads(files[name]), edits)
    if name == "provenance.json" and alike:
        result = json.loads(files["result.json"]) | {"provenance": document}
        (run / "result.json").write_text(json.dumps(result))
    (run / name).write_text(json.dumps(document))
    try:
        outcome(checks._check_run, run, place(run), "open")
    finally:
        (run / name).write_bytes(files[name])
        (run / "result.json").write_bytes(files["result.json"])


@given(edits=EDITS)
def test_fuzz_wrong_values_in_yaml(run, files, edits):
    document = edited(yaml.safe_load(files["config.yaml"]), edits)
    (run / "config.yaml").write_bytes(yaml.safe_dump(document, allow_unicode=False).encode(errors="replace"))
    try:
        outcome(checks._check_run, run, place(run), "open")
    finally:
        (run / "config.yaml").write_bytes(files["config.yaml"])


@given(edits=EDITS, algo=st.sampled_from(["ppo", "sac", "dqn", "redq", "random"]))
def test_fuzz_settings(run, files, edits, algo):
    """Overrides go through the suite's own configuration, which was written for a user's command line."""
    result = json.loads(files["result.json"]) | {"algo": algo, "overrides": {"agent.gamma": 0.9, "train.num_envs": 64}}
    settings = edited({key: result[key] for key in ("overrides", "curriculum", "randomization", "budget")}, edits)
    record = result | (settings if isinstance(settings, dict) else {})

    def plan():
        checks._check_texts("result.json", record)
        schema.check_result(record)
        checks.planned(record)

    outcome(plan)


@given(edits=EDITS)
def test_fuzz_manifests(edits):
    manifest = {
        "format": 1,
        "suite_version": "0.1.0",
        "division": "open",
        "title": "t",
        "submitter": "s",
        "contact": "c",
    }
    manifest |= {"description": "", "files": {"runs/x": {"sha256": "0" * 64, "size": 1}}}
    document = edited(manifest, edits)
    if isinstance(document, dict):
        outcome(bundle.check_manifest, document)


@given(
    damage=DAMAGE,
    name=st.sampled_from(["config.yaml", "result.json"]),
    deep=st.sampled_from(["", "[", "- ", '{"a":', "? "]),
)
def test_fuzz_texts(files, damage, name, deep):
    """Damaged texts, also nested ones, in both readers."""
    data = damaged(files[name] + deep.encode() * 20_000, damage)
    for load in (load_yaml, load_json):
        outcome(load, data)


# --- Parquet


ARRAYS = st.sampled_from(
    [
        *("null", "nulls", "float32", "int8", "uint64", "string", "large_string", "binary", "list", "bool", "date"),
        *(
            "nan",
            "inf",
            "huge",
            "negative",
            "bad_utf8",
            "long_text",
            "dictionary",
            "decimal",
            "drop",
            "twice",
            "rename",
        ),
        *("reverse", "empty", "half"),
    ]
)


def changed(table, at, how):
    """The table with a column of another kind or with impossible values, or with other rows."""
    column, n = table.column_names[at], table.num_rows
    one = {
        "null": lambda: pa.nulls(n),
        "nulls": lambda: table[at].take(pa.array([None, *range(1, n)][:n], pa.int64())),
        "string": lambda: pa.array(["x"] * n),
        "large_string": lambda: pa.array(["g1"] * n, pa.large_string()),
        "binary": lambda: pa.array([b"\xff"] * n),
        "list": lambda: pa.array([[1.0]] * n),
        "bool": lambda: pa.array([True] * n),
        "date": lambda: pa.array([0] * n, pa.date32()),
        "nan": lambda: pa.array([float("nan")] * n),
        "inf": lambda: pa.array([float("inf")] * n),
        "huge": lambda: pa.array([1.7e308] * n),
        "negative": lambda: pa.array([-1] * n),
        "long_text": lambda: pa.array(["x" * 100] * n),
        "dictionary": lambda: pa.array(["x"] * n).dictionary_encode(),
        "decimal": lambda: pa.array([1] * n, pa.decimal128(20, 2)),
        **{kind: lambda kind=kind: pa.array(np.ones(n, kind)) for kind in ("float32", "int8", "uint64")},
    }
    if how == "bad_utf8":
        offsets = pa.py_buffer(np.arange(0, 2 * n + 1, 2, dtype=np.int32).tobytes())
        return table.set_column(
            at, column, pa.Array.from_buffers(pa.string(), n, [None, offsets, pa.py_buffer(b"g\xff" * n)])
        )
    if how == "drop":
        return table.remove_column(at)
    if how == "twice":
        return table.append_column(column, table[at])
    if how == "rename":
        return table.rename_columns(["x" if i == at else name for i, name in enumerate(table.column_names)])
    if how in ("reverse", "empty", "half"):
        return table.take(
            pa.array({"reverse": range(n - 1, -1, -1), "empty": [], "half": range(n // 2)}[how], pa.int64())
        )
    return table.set_column(at, column, one[how]())


@given(
    file=st.sampled_from(["episodes.parquet", "evaluations/newton_mjwarp/episodes.parquet", "progress.parquet"]),
    changes=st.lists(st.tuples(st.integers(0, 100), ARRAYS), min_size=1, max_size=2),
)
def test_fuzz_hostile_tables(run, files, file, changes):
    """Tables that a Parquet writer wrote, whose hashes are right."""
    table = pq.read_table(pa.BufferReader(files[file]))
    for number, how in changes:
        if table.num_columns:
            table = changed(table, number % table.num_columns, how)
    pq.write_table(table, run / file)
    record = file.replace("episodes.parquet", "evaluation.json") if "/" in file else "result.json"
    key = "progress_sha256" if file == "progress.parquet" else "episodes_sha256"
    (run / record).write_text(json.dumps(json.loads(files[record]) | {key: sha256(run / file)}))
    try:
        outcome(checks._check_run, run, place(run), "open")
    finally:
        for name in (file, record):
            (run / name).write_bytes(files[name])


READER = """
import os, sys
from pathlib import Path
from leaderboard.submissions.isolation import limited_memory
from leaderboard.submissions.tables import read_table
from suite.untrusted import Unusable
for line in sys.stdin:
    if (child := os.fork()) == 0:
        code = 3
        try:
            with limited_memory():
                read_table(Path(line.rstrip()))
            code = 0
        except Unusable as error:
            code = 1 if str(error) and len(str(error).splitlines()) == 1 else 2
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def reader():
    """A process that reads each table that it is told of in a child of its own."""
    command = [sys.executable, "-W", "ignore", "-c", READER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment()) as child:
        yield child
        child.stdin.close()


@given(damage=DAMAGE, name=st.sampled_from(["episodes.parquet", "progress.parquet"]))
def test_fuzz_damaged_tables(box, files, reader, damage, name):
    """Some damage crashes Arrow; the process that meets it is not the verifier."""
    path = box / "damaged.parquet"
    path.write_bytes(damaged(files[name], damage))
    reader.stdin.write(f"{path}\n")
    reader.stdin.flush()
    code = int(reader.stdout.readline())
    assert code in (0, 1) or code < 0, reader.stderr.readline()
