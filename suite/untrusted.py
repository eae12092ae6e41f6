"""YAML and JSON from outside: read within limits, as plain data and nothing more.

A reader that builds first and looks afterwards can be brought down: libyaml takes quadratic time for deep nesting and
ends the process from about 60,000 levels, a FIFO hangs, a link to `/dev/zero` takes all memory. So what a file is, its
size and its nesting are looked at before anything is built.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**18
MAX_DEPTH = 32  # of lists and mappings in each other
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENAMETOOLONG)
_JSON_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)  # linear, whatever comes
_LONG_NUMBER = re.compile(r"[-+]?[0-9][0-9:_.]{64,}")


class Unusable(ValueError):
    """A file or text that cannot be taken in; the message is the reason, in one line."""


def load_yaml(source: str | bytes | Path, max_bytes: int = MAX_BYTES) -> Any:
    """Plain data from a YAML text or file: mappings with texts as keys, lists, texts, finite numbers, booleans, None.

    Raises:
        Unusable: for what is no such YAML: also anchors, aliases, tags, a key twice, dates, more than 32 levels, more
            than `max_bytes`, invalid UTF-8, and a path that is no regular file (a link is none).
        OSError: from the disk.
    """
    name, text = _text(source, max_bytes)
    try:
        _check_events(name, text)
        value = yaml.load(text, _Loader)
    except Unusable:
        raise
    except (yaml.YAMLError, ValueError, TypeError, OverflowError):  # the last ones: from numbers and dates
        raise Unusable(f"{name} is damaged: not YAML") from None
    _check_plain(name, value)
    return value


def load_json(source: str | bytes | Path, max_bytes: int = MAX_BYTES) -> Any:
    """Plain data from a JSON text or file, as `load_yaml` gives it.

    Raises:
        Unusable: for what is no JSON: also a key twice, NaN, infinity, integers beyond 64 bits, more than 32 levels,
            more than `max_bytes`, invalid UTF-8, and a path that is no regular file (a link is none).
        OSError: from the disk.
    """
    name, text = _text(source, max_bytes)
    depth = 0
    for token in _JSON_TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            raise Unusable(f"{name} is nested more than {MAX_DEPTH} levels deep")
    try:
        value = json.loads(text, parse_int=_int, parse_constant=float, object_pairs_hook=_mapping)
    except _Twice as error:
        raise Unusable(f"{name} has the key {error} twice") from None
    except (ValueError, RecursionError):
        raise Unusable(f"{name} is damaged: not JSON") from None
    _check_plain(name, value)
    return value


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file. Raises `Unusable` for anything else and where it is too large; `OSError`."""
    try:
        # NONBLOCK: opening a FIFO without a writer would wait for one.
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unusable(f"{path.name} is a link, not a regular file") from None
        if error.errno in _NO_FILE:
            raise Unusable(f"{path.name} cannot be read: {error.strerror}") from None
        raise
    except ValueError:  # a zero byte in the name
        raise Unusable("a file name has a zero byte") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise Unusable(f"{path.name} is not a regular file")
    with os.fdopen(file, "rb") as opened:
        data = opened.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Unusable(f"{path.name} has more than {_size(max_bytes)}")
    return data


def _text(source: str | bytes | Path, max_bytes: int) -> tuple[str, str]:
    """What to call the source in a message, and its text."""
    name = source.name if isinstance(source, Path) else "the text"
    if isinstance(source, Path):
        source = read_bytes(source, max_bytes)
    if len(source) > max_bytes:
        raise Unusable(f"{name} has more than {_size(max_bytes)}")
    try:
        return name, source.decode() if isinstance(source, bytes) else source
    except UnicodeDecodeError:
        raise Unusable(f"{name} is damaged: not UTF-8") from None


def _size(count: int) -> str:
    return f"{count // 2**20} MiB" if count >= 2**20 else f"{count // 2**10} KiB"


def _check_events(name: str, text: str) -> None:
    """What `yaml.load` must not see. Events come one by one, from a parser that does not recurse."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if getattr(event, "anchor", None) or getattr(event, "tag", None):  # an alias has an anchor, too
            raise Unusable(f"{name} has anchors, aliases or tags; write plain values")
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            raise Unusable(f"{name} has a merge key (<<); write plain values")
        # Digits with colons are numbers to the base of 60, which take quadratic time.
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _LONG_NUMBER.match(event.value):
            raise Unusable(f"{name} has a number of more than 64 digits")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise Unusable(f"{name} is nested more than {MAX_DEPTH} levels deep")


class _Loader(yaml.CSafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(keys):
            raise Unusable(f"the YAML has the key {ascii(_twice(keys))[:60]} twice")
        return mapping


def _twice(keys: Iterable[Any]) -> Any:
    return next(key for key, count in Counter(keys).items() if count > 1)


class _Twice(Exception):
    """Not a `ValueError`: those say that it is no JSON."""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise _Twice(ascii(_twice(key for key, _ in pairs))[:60])
    return mapping


def _int(text: str) -> float:
    return int(text) if len(text) <= 20 else math.inf  # one that `_check_plain` refuses; `int` takes long for long ones


def _check_plain(name: str, value: Any) -> None:
    """Of at most `MAX_DEPTH` levels by now, so that recursion is safe."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Unusable(f"{name} has the key {ascii(key)[:60]}, which is no text")
            _check_plain(name, key)
            _check_plain(name, item)
    elif isinstance(value, list):
        for item in value:
            _check_plain(name, item)
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unusable(f"{name} has a text with a half of a character (a lone surrogate)") from None
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Unusable(f"{name} holds a number that is not finite, or too large")
    elif isinstance(value, int):
        if abs(value) >= 2**63:
            raise Unusable(f"{name} holds an integer of more than 64 bits")
    elif value is not None:
        raise Unusable(f"{name} holds a value that is no text, number, list or mapping: {ascii(value)[:60]}")
