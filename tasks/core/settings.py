"""Typed settings that say, field by field, which values they take. Imports no torch.

A dataclass of settings declares a number with one of the functions below, which add a rule to the field:

    @dataclass
    class MyConfig:
        steps: int = count(most=1000)
        rate: float = positive(default=0.1)

`check` applies the rules, and `without_rule` finds a field that has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any, cast, get_origin, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf

Rule = Callable[[Any], str]
"""What a value should have been, to follow "expected"; an empty text for a value that is right."""

_RULE = "gradus.rule"


def ruled(rule: Rule, default: Any = MISSING) -> Any:
    """A field with a rule of your own."""
    return field(default=default, metadata={_RULE: rule})


def count(most: int, least: int = 1, default: Any = MISSING) -> Any:
    """An integer from `least` to `most`."""
    return ruled(lambda x: f"at most {most}" if x > most else f"at least {least}" if x < least else "", default)


def positive(default: Any = MISSING) -> Any:
    """A number above 0."""
    return ruled(lambda x: "" if x > 0 else "positive", default)


def not_negative(default: Any = MISSING) -> Any:
    """A number of 0 or more."""
    return ruled(lambda x: "" if x >= 0 else "at least 0", default)


def share(default: Any = MISSING) -> Any:
    """A number from 0 to 1."""
    return ruled(lambda x: "" if 0 <= x <= 1 else "between 0 and 1", default)


def any_value(default: Any = MISSING) -> Any:
    """Whatever the type allows, but no infinite number."""
    return ruled(lambda x: "", default)


def one_of(options: Sequence[str], default: Any = MISSING) -> Any:
    """One of some names."""
    return ruled(lambda x: "" if x in options else f"one of {', '.join(options)}", default)


def check(schema: type, values: Mapping[str, Any]) -> None:
    """Raise `ValueError`, naming the key, for a value of a config that its field in `schema` does not take.

    Null is right wherever the type allows it. No number may be infinite or NaN.
    """
    for f in fields(schema):
        value = values.get(f.name)
        if value is None:
            continue
        rule = f.metadata.get(_RULE)
        if rule and (expected := rule(value)):
            raise ValueError(f"{f.name}={str(value)[:60]}: expected {expected}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{f.name}={value}: expected a finite number")


def without_rule(schema: type) -> list[str]:
    """Fields of a dataclass that need a rule and have none: all but flags (`bool`) and lists."""
    hints = get_type_hints(schema)
    free = {name for name, hint in hints.items() if hint in (bool, bool | None) or get_origin(hint) is list}
    return [f.name for f in fields(schema) if _RULE not in f.metadata and f.name not in free]


def merged(*parts: Any) -> DictConfig:
    """The settings of `parts`, which are mappings, as one: a later part wins. Raises `TypeError` for another kind."""
    whole = OmegaConf.merge(*parts)
    if not isinstance(whole, DictConfig):
        raise TypeError("expected a mapping")
    return whole


def as_dict(cfg: Any, resolve: bool = True) -> dict[str, Any]:
    """Settings as plain data, in which a look-up is a hundred times as fast. Raises `TypeError` for no mapping."""
    content = OmegaConf.to_container(cfg, resolve=resolve)
    if not isinstance(content, dict):
        raise TypeError("expected a mapping")
    return cast("dict[str, Any]", content)
