"""Text files are UTF-8 wherever they are read: every call that opens one says so."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path
    for package in ("tasks", "curricula", "baselines", "suite", "leaderboard")
    for path in (ROOT / package).rglob("*.py")
)


def without_encoding(text):
    """Line numbers of the calls in a module that read or write text in the encoding of the locale."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or any(keyword.arg in ("encoding", None) for keyword in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in ("read_text", "write_text"):
            given = len(node.args) > (name == "write_text")
        elif name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
            given = not _opens_text(node, name)
        else:
            continue
        if not given:
            found.append(node.lineno)
    return found


def _opens_text(node, name):
    owner = getattr(getattr(node.func, "value", None), "id", "")
    if name == "open" and isinstance(node.func, ast.Attribute) and owner in ("os", "archive", "zipfile", "Image"):
        return False
    method = name == "open" and isinstance(node.func, ast.Attribute)  # Path.open has the mode first
    position = 0 if method or name.endswith("File") else 1
    modes = [keyword.value for keyword in node.keywords if keyword.arg == "mode"] + node.args[position : position + 1]
    mode = next((m.value for m in modes if isinstance(m, ast.Constant)), "w+b" if name.endswith("File") else "r")
    return "b" not in str(mode)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_file_names_its_encoding(path):
    assert without_encoding(path.read_text(encoding="utf-8")) == []


def test_the_search_finds_each_form():
    text = 'open(a)\nopen(a, "w")\np.open()\np.read_text()\np.write_text("")\nos.fdopen(1, "w")\n'
    assert without_encoding(text) == [1, 2, 3, 4, 5, 6]
    text = 'open(a, "rb")\nos.open(a, 0)\np.open("xb")\np.read_text(encoding="utf-8")\nopen(a, mode="rb")\n'
    assert without_encoding(text) == []
