"""Whether the content of a result.json is what the suite reads of one; the leaderboard asks for more."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from suite.plan import values
from suite.runs.rundir import RESULT_KEYS
from tasks.spec import GRADES

NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,127}")
SHA256 = re.compile(r"[0-9a-f]{64}")


def fault(result: Mapping[str, Any]) -> str:
    """What is wrong with a result, in one line; '' where nothing is."""
    if missing := [key for key in RESULT_KEYS if key not in result]:
        return f'it has no "{missing[0]}"'
    for key, value in result.items():
        if key in _FIELDS and not _FIELDS[key](value):
            return f'its "{key}" is not what a result has'
    return ""


def _name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _amount(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value < 1e15


def _hash(value: Any) -> bool:
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _settings(value: Any) -> bool:
    try:
        return isinstance(value, dict) and all(values.plain(item) == item for item in value.values())
    except ValueError:
        return False


def _by_grade(value: Any, test: Any) -> bool:
    return isinstance(value, dict) and set(value) == set(GRADES) and all(map(test, value.values()))


def _share(value: Any) -> bool:
    return _amount(value) and value <= 1


def _episodes(value: Any) -> bool:
    return _count(value) and 0 < value < 10**9


def _cells(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(c, dict) and _episodes(c.get("episodes")) for c in value.values())


def _provenance(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("cpu", ""), str):
        return False
    gpus = value.get("gpus", [])
    return isinstance(gpus, list) and all(map(_text, gpus))


_FIELDS = {
    **dict.fromkeys(("suite_version", "device", "command"), _text),
    **dict.fromkeys(("task", "algo", "curriculum", "randomization", "engine", "budget"), _name),
    **dict.fromkeys(("seed", "env_steps"), _count),
    **dict.fromkeys(("wall_time_s",), _amount),
    **dict.fromkeys(("num_envs",), lambda value: value is None or _count(value)),
    **dict.fromkeys(("evaluation_time_s",), lambda value: value is None or _amount(value)),
    **dict.fromkeys(("policy_sha256", "episodes_sha256"), _hash),
    "overrides": _settings,
    "success": lambda value: _by_grade(value, _share),
    "episodes": lambda value: _by_grade(value, _episodes),
    "cells": _cells,
    "provenance": _provenance,
}
