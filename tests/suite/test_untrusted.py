"""YAML and JSON from outside: plain data, or one line that says why not; never a crash or a hang."""

import os
import subprocess
import sys
import time

import pytest

from suite.untrusted import Unusable, load_json, load_yaml, read_bytes


@pytest.mark.parametrize("load", [load_json, load_yaml])
def test_plain_data(load, tmp_path):
    text = '{"a": [1, 2.5, "x", null, true], "b": {"c": {}}}'
    wanted = {"a": [1, 2.5, "x", None, True], "b": {"c": {}}}
    file = tmp_path / "x.json"
    file.write_text(text)
    assert load(text, 100) == load(text.encode(), 100) == load(file, 100) == wanted


@pytest.mark.parametrize("load", [load_json, load_yaml])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 33 + "]" * 33, "more than 32 levels"),
        ('{"a":' * 40_000, "more than 32 levels"),
        ("[" * 120_000, "more than 32 levels"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' twice"),
        ("x" * 300_000, "larger than 256 KiB"),
        (b'"\xff"', "not UTF-8"),
        ('"\\ud800"', "surrogate|not YAML"),
        ("123456789012345678901234567890", "finite number"),
        ("9223372036854775808", "finite number of 64 bits"),
        ("9" * 5000, "finite number|64 digits"),
        ("{", "damaged"),
        ('"\0"', "damaged"),
    ],
    ids=range(12),
)
def test_what_both_refuse(load, text, reason):
    start = time.monotonic()
    with pytest.raises(Unusable, match=reason) as error:
        load(text)
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[1e400]"])
def test_json_has_finite_numbers(text):
    with pytest.raises(Unusable, match="not a finite number"):
        load_json(text)


def test_json_of_many_quotes_is_scanned_in_linear_time():
    start = time.monotonic()
    with pytest.raises(Unusable, match="not JSON"):
        load_json('"' + '\\"' * 100_000)
    with pytest.raises(Unusable, match="not JSON"):
        load_json('"\\"' * 60_000 + "\\")
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- " * 60_000 + "x", "more than 32 levels"),  # ends the process in `yaml.load`
        ("a: &x 1\nb: 2", "anchors"),
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: !!python/name:os.system x", "tags"),
        ("a: !!int '3'", "tags"),
        ("<<: {a: 1}", "merge key"),
        ("a: 2001-01-01", "no text, number"),
        ("a: 2001-99-99", "not YAML"),
        ("1: x", "no text"),
        ("[a, b]: x", "not YAML"),
        ("a: .inf", "not a finite"),
        ("a: 1\n---\nb: 1", "not YAML"),
        ("a: =", "not YAML"),
        ("a: " + "1:" * 100_000 + "1", "64 digits"),
    ],
    ids=range(14),
)
def test_yaml_is_no_more_than_data(text, reason):
    with pytest.raises(Unusable, match=reason):
        load_yaml(text)


@pytest.mark.parametrize("load", [load_json, load_yaml])
def test_only_regular_files_are_opened(load, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "real").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("fifo", "link", "zero", ".", "none"):
        with pytest.raises(Unusable, match=r"a plain file|a link|cannot be read"):
            load(tmp_path / name)
    with pytest.raises(Unusable, match="not a plain file"):
        read_bytes(type(tmp_path)("/dev/zero"), 10)


def test_the_machine_is_not_the_files_fault(tmp_path):
    """A process without free file descriptors says nothing about a file."""
    (tmp_path / "x.yaml").write_text("{}")
    code = (
        "import pathlib, resource, sys; from suite.untrusted import Unusable, load_yaml\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try: load_yaml(pathlib.Path(sys.argv[1]))\n"
        "except Unusable: sys.exit(1)\n"
        "except OSError: sys.exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "x.yaml"]).returncode == 7
