"""Values of settings: how the command line writes them, and which no run can have."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from baselines.algorithms.definition import MOST_ENVS
from suite.errors import UserError

LARGEST = 1e30  # of a float setting: far from where 32 bits end
MAX_TEXT = 1000  # characters of a value on the command line

SEEDS = (0, 2**32 - 1)
"""Least and most of the seeds of episodes: as far as NumPy's global generator goes, which Isaac Lab seeds."""

BOUNDS = {
    "train.num_envs": (1, MOST_ENVS),
    "train.min_envs": (1, MOST_ENVS),
    "train.env_steps": (1, 10**12),
    "train.checkpoints": (1, 10_000),
    "eval.episodes_per_grade": (1, 2**20),
    "eval.episodes_per_cell": (1, 2**20),
    "eval.episodes_per_env": (1, 2**20),
    "eval.seed": SEEDS,
}
"""Least and most of the integers that a run may have. The most are far above what any machine can do."""

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][-+]?[0-9]{1,5})?")
_NAMED = {"": None, "null": None, "~": None, "true": True, "false": False}
_NO_NUMBER = re.compile(r"[-+]?\.?(inf|infinity|nan)", re.IGNORECASE)
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def parse(text: str) -> Any:
    """What `key=text` means: a number, true, false, null, a text, or a list `[a, b]` of these.

    Raises `ValueError` for anything else: a nested list, and a number that is not written in plain decimal digits.
    """
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected at most {MAX_TEXT} characters")
    if not text.startswith("["):
        return _scalar(text)
    inside = text[1:-1].strip()
    if not text.endswith("]") or "[" in inside or "]" in inside:
        raise ValueError("expected a list like [a, b]")
    items = [item.strip() for item in inside.split(",")] if inside else []
    if "" in items:
        raise ValueError("expected a list like [a, b], without gaps")
    return [_scalar(item) for item in items]


def _scalar(text: str) -> Any:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return plain(text[1:-1])
    if text in _NAMED:
        return _NAMED[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and ("." in text or "e" in text.lower()):
        return float(text)
    if _NO_NUMBER.fullmatch(text):
        return float(text.replace(".", ""))  # `check_finite` says what is wrong
    if text.lstrip("+-.")[:1].isdigit():  # YAML would read 010, 1_000, 0x40 and 1:30 as other numbers
        raise ValueError("expected a plain decimal number")
    return plain(text)


def plain(value: Any) -> Any:
    """`value`, if it is what a setting may hold: a scalar or a list of them, which OmegaConf would not read as more.

    Raises `ValueError` otherwise.
    """
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and ("${" in item or "???" in item):  # what stands elsewhere, or is missing
            raise ValueError("expected a plain value")
        if item is not None and not isinstance(item, str | bool | int | float):
            raise ValueError("expected a value, or a list of values")
    return value


def literal(value: Any) -> Any:
    """Plain data in which OmegaConf finds no interpolation: it gives every text back as it is here."""
    if isinstance(value, str):
        return _INTERPOLATION.sub(r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    return [literal(item) for item in value] if isinstance(value, list) else value


def check_finite(settings: Mapping[str, Any]) -> None:
    """Raise `UserError` for a number that result.json cannot hold (NaN, infinity), or that no training can use."""
    for key, value in settings.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, float) and not math.isfinite(item):
                raise UserError(f"{key}={value}: expected a finite number (null, where a setting can be left out)")
            if isinstance(item, float | int) and abs(item) > LARGEST:
                raise UserError(f"{key}={str(value)[:60]}: expected at most {LARGEST:g} in size")


def check_between(key: str, value: int | None, least: int, most: int) -> None:
    """Raise `UserError` for an integer outside its bounds; None is within them."""
    if value is not None and not least <= value <= most:
        wanted = f"must be {least} or more" if value < least else f"must be at most {most}"
        raise UserError(f"{key} {wanted}, got {str(value)[:60]}")
