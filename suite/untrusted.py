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
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**18
MAX_DEPTH = 32  # of lists and mappings in each other
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
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
        value = json.loads(
            text, parse_int=_int, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_mapping
        )
    except _Refused as error:
        raise Unusable(f"{name} {error}") from None
    except (ValueError, RecursionError):
        raise Unusable(f"{name} is damaged: not JSON") from None
    _check_plain(name, value)
    return value


@contextmanager
def opened(path: Path, max_bytes: int) -> Generator[BufferedReader]:
    """The file `path`, to be read. No link is followed, and no pipe is waited for.

    Raises:
        Unusable: for a link, for what is not a plain file, and for one of more than `max_bytes`.
        OSError: if it cannot be opened.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unusable(f"{path.name} is a link") from None
        if error.errno == errno.ENXIO:
            raise Unusable(f"{path.name} is not a plain file") from None
        raise
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise Unusable(f"{path.name} is not a plain file")
        if found.st_size > max_bytes:
            raise Unusable(f"{path.name} is larger than {_size(max_bytes)}")
        file = os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise
    with file:
        yield file


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a file, see `opened`. Raises `Unusable`, also where there is none; `OSError` from the disk."""
    try:
        with opened(path, max_bytes) as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise Unusable(f"{path.name} cannot be read: {error.strerror}") from None
        raise
    if len(data) > max_bytes:  # it grew
        raise Unusable(f"{path.name} is larger than {_size(max_bytes)}")
    return data


def _text(source: str | bytes | Path, max_bytes: int) -> tuple[str, str]:
    """What to call the source in a message, and its text."""
    name = source.name if isinstance(source, Path) else "the text"
    if isinstance(source, Path):
        source = read_bytes(source, max_bytes)
    if len(source) > max_bytes:
        raise Unusable(f"{name} is larger than {_size(max_bytes)}")
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


class _Refused(Exception):
    """Not a `ValueError`: those say that it is no JSON."""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise _Refused(f"has the key {ascii(_twice(key for key, _ in pairs))[:60]} twice")
    return mapping


def _int(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) >= 2**63:  # `int` takes long for long ones
        raise _Refused(f"holds {text[:20]}, which is not a finite number of 64 bits")
    return value


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise _Refused(f"holds {text[:20]}, which is not a finite number")
    return value


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
            raise Unusable(f"{name} holds {value}, which is not a finite number")
    elif isinstance(value, int):
        if abs(value) >= 2**63:
            raise Unusable(f"{name} holds {ascii(value)[:20]}, which is not a finite number of 64 bits")
    elif value is not None:
        raise Unusable(f"{name} holds a value that is no text, number, list or mapping: {ascii(value)[:60]}")
