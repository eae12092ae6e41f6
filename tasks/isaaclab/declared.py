"""Isaac Lab's configs of what a task's spec declares: observations, actions and safety limits, by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import torch
from isaaclab.managers import ActionTermCfg, ObservationGroupCfg, ObservationTermCfg

from tasks.core.env_state import EnvState
from tasks.spec import TaskSpec, Term

Condition = Callable[[EnvState], torch.Tensor]
"""A function of the env's momentary state: [N] bool."""


def observations(spec: TaskSpec, *modules: Any, **given: ObservationTermCfg) -> dict[str, ObservationGroupCfg]:
    """What a policy sees, and under `critic` what only a critic sees: a term for each that the spec declares.

    Args:
        spec: names and order of the terms come from it; their widths are checked when the env has been built.
        modules: where functions of the env are that have a term's name, beside the module of `spec.make_env`, which
            comes first.
        given: terms that need more than a function: parameters or a scale, or a function of another name.

    Raises:
        ValueError: for a declared term without a function, or one given that is not declared.
    """
    modules = (import_module(spec.make_env.partition(":")[0]), *modules)
    groups = {"policy": spec.observations, "critic": spec.critic_observations}
    _check_given(spec, "observation", given, [term.name for terms in groups.values() for term in terms])
    return {name: _group(spec, terms, modules, given) for name, terms in groups.items() if terms}


def _group(
    spec: TaskSpec, terms: Iterable[Term], modules: tuple[Any, ...], given: Mapping[str, Any]
) -> ObservationGroupCfg:
    group = ObservationGroupCfg(concatenate_terms=True, enable_corruption=False)
    for term in terms:
        found = given.get(term.name)
        if found is None:
            functions = (getattr(module, term.name, None) for module in modules)
            function = next((function for function in functions if callable(function)), None)
            if function is None:
                places = ", ".join(module.__name__ for module in modules)
                raise ValueError(f"{spec.name}: no function for the observation {term.name!r} in {places}")
            found = ObservationTermCfg(func=function)
        setattr(group, term.name, found)
    return group


def action(spec: TaskSpec, cfg: ActionTermCfg) -> dict[str, ActionTermCfg]:
    """The one term that carries out all actions that the spec declares; the width is checked after building."""
    return {spec.actions[0].name: cfg}


def safety(spec: TaskSpec, **conditions: Callable[[EnvState, float], torch.Tensor]) -> dict[str, Condition]:
    """The condition "crossed now" of every safety limit that the spec declares.

    `conditions` are functions of the env and the limit's value. Raises `ValueError` for a limit without a condition, or
    a condition without a limit.
    """
    _check_given(spec, "safety limit", conditions, spec.safety)
    if missing := [name for name in spec.safety if name not in conditions]:
        raise ValueError(f"{spec.name}: no condition for the safety limit {missing[0]!r}")
    return {name: _crossed(conditions[name], limit.value) for name, limit in spec.safety.items()}


def _crossed(condition: Callable[[EnvState, float], torch.Tensor], value: float) -> Condition:
    return lambda env: condition(env, value)


def _check_given(spec: TaskSpec, what: str, given: Iterable[str], declared: Iterable[str]) -> None:
    if more := sorted(set(given) - set(declared)):
        raise ValueError(f"{spec.name}: the {what} {more[0]!r} is not declared in the spec")
