"""The JSON files of a run directory: strict reading, and which fields they need."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import suite
from leaderboard import plain
from suite.protocol import VERSION
from suite.untrusted import Unusable

SCHEMA = 1
GRADES = ("g1", "g2", "g3", "g4", "g5")
MAX_JSON_BYTES = 16 * 2**20

NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")


def read_bytes(path: Path, most: int) -> bytes:
    """A file's content. Raises `Unusable` if it cannot be read, is no plain file or has more than `most` bytes."""
    try:
        return plain.read(path, most)
    except OSError as error:
        raise Unusable(f"{path.name} cannot be read: {error.strerror}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of numbers that JSON can hold: no NaN, infinity or integers beyond 64 bits."""
    data = read_bytes(path, MAX_JSON_BYTES)
    try:
        value = json.loads(data.decode(), parse_constant=_finite, parse_float=_finite, parse_int=_int64)
    except _NotFinite as error:
        raise Unusable(f"{path.name} holds {error}, which is not a finite number") from None
    except (ValueError, RecursionError):
        raise Unusable(f"{path.name} is damaged: not JSON") from None
    if not isinstance(value, dict):
        raise Unusable(f"{path.name} is not a JSON object")
    return value


class _NotFinite(Exception):
    pass


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise _NotFinite(text[:20])
    return value


def _int64(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) >= 2**63:
        raise _NotFinite(text[:20])
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _by_grade(test: Any) -> Any:
    return lambda value: isinstance(value, dict) and set(value) == set(GRADES) and all(test(v) for v in value.values())


OUTCOME_FIELDS = {  # of result.json and evaluation.json
    "engine": (_is_name, "a name"),
    "success": (_by_grade(lambda v: _is_number(v) and 0 <= v <= 1), "a number in [0, 1] for each of g1 to g5"),
    "episodes": (_by_grade(lambda v: _is_count(v) and v > 0), "an integer from 1 for each of g1 to g5"),
    "evaluation_time_s": (lambda v: _is_number(v) and v >= 0, "a number from 0"),
    "command": (lambda v: isinstance(v, str), "a text"),
    "policy_sha256": (lambda v: isinstance(v, str) and SHA256.fullmatch(v), "64 hex digits"),
    "episodes_sha256": (lambda v: isinstance(v, str) and SHA256.fullmatch(v), "64 hex digits"),
    "provenance": (lambda v: isinstance(v, dict) and _is_time(v.get("ended")), 'an object whose "ended" is a UTC time'),
}
RESULT_FIELDS = {
    "task": (_is_name, "a name"),
    "algo": (_is_name, "a name"),
    "curriculum": (_is_name, "a name"),
    "randomization": (_is_name, "a name"),
    "budget": (_is_name, "a name"),
    "seed": (_is_count, "an integer from 0"),
    "overrides": (lambda v: isinstance(v, dict), "an object"),
    "env_steps": (_is_count, "an integer from 0"),
    "wall_time_s": (lambda v: _is_number(v) and v >= 0, "a number from 0"),
    "device": (lambda v: isinstance(v, str), "a text"),
    **OUTCOME_FIELDS,
}
OPTIONAL_FIELDS = {
    "energy_j": (lambda v: v is None or (_is_number(v) and v >= 0), "a number from 0, or null"),  # GPU, training
}


def check_result(result: Mapping[str, Any]) -> None:
    """Raise `Unusable` unless `result` is a result.json of this suite version, with every field in its range."""
    if result.get("schema") != SCHEMA:
        raise Unusable(f"result.json has schema {result.get('schema')!r}, this leaderboard reads {SCHEMA}")
    if result.get("suite_version") != suite.__version__:
        version = result.get("suite_version")
        raise Unusable(f"of suite version {version!r}; this leaderboard is of {suite.__version__}")
    if isinstance(named := result.get("protocol"), dict) and named.get("version") != VERSION:
        raise Unusable(f"evaluated by protocol version {named.get('version')!r}; this leaderboard is of {VERSION}")
    present = {name: rule for name, rule in OPTIONAL_FIELDS.items() if name in result}
    _check_fields(result, "result.json", RESULT_FIELDS | present)


def check_evaluation(record: Mapping[str, Any]) -> None:
    """Raise `Unusable` unless `record` is an evaluation.json with every field in its range."""
    _check_fields(record, "evaluation.json", OUTCOME_FIELDS)


def _check_fields(content: Mapping[str, Any], file: str, fields: Mapping[str, tuple[Any, str]]) -> None:
    for name, (test, wanted) in fields.items():
        if name not in content:
            raise Unusable(f'{file} has no "{name}"')
        if not test(content[name]):
            raise Unusable(f'"{name}" in {file} has to be {wanted}')
