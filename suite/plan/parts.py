"""Which parts of a run come from other packages than Gradus: task, effects, algorithm, curriculum, engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tasks
from baselines.algorithms.registry import ALGORITHMS
from curricula.registry import TEACHERS
from tasks.core import engines
from tasks.core.registry import Origin, Registry
from tasks.factors import registry as effects
from tasks.multitask.declare import SEPARATOR
from tasks.spec import TaskSpec

REGISTRIES: dict[str, Registry[Any]] = {
    "task": tasks.REGISTRY,
    "effect": effects.REGISTRY,
    "algorithm": ALGORITHMS,
    "curriculum": TEACHERS,
    "engine": engines.REGISTRY,
}
"""By kind."""


def origins(kind: str) -> dict[str, str | None]:
    """Name of every part of a kind, and the package that it comes from: `my-package 1.0`, None for Gradus."""
    registry = REGISTRIES[kind]
    return {name: str(registry.origin(name) or "") or None for name in registry.names()}


def outside(spec: TaskSpec, engine: str, algo: str, curriculum: str) -> list[dict[str, str]]:
    """Kind, name, distribution and version of each part of a run that is not Gradus's, as provenance has them."""
    found = []
    for kind, name in dict.fromkeys(_used(spec, engine, algo, curriculum)):
        registry = REGISTRIES[kind]
        if name in registry and (origin := registry.origin(name)):
            found.append({"kind": kind, "name": name, **origin._asdict()})
    return found


def _used(spec: TaskSpec, engine: str, algo: str, curriculum: str) -> Iterator[tuple[str, str]]:
    for name in spec.name.split(SEPARATOR):
        yield "task", name
        yield from (("effect", factor.effect) for factor in tasks.get(name).factors)
    yield from (("algorithm", algo), ("curriculum", curriculum), ("engine", engine))


def missing(provenance: Mapping[str, Any]) -> str:
    """Why a run with this provenance cannot be used here: a part that is not installed, or not in that version; or ''.

    What has not the form of a provenance has no such part.
    """
    parts = provenance.get("parts")
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, Mapping) or not {"kind", "name", "distribution", "version"} <= set(part):
            continue
        registry, wanted = REGISTRIES.get(part["kind"]), Origin(str(part["distribution"]), str(part["version"]))
        here = registry.origin(part["name"]) if registry and part["name"] in registry else None
        if here != wanted:
            what = f"{part['kind']} {str(part['name'])[:60]!r} is of {str(wanted)[:100]}"
            return f"{what}, which is not installed" + (f"; here it is of {here}" if here else "")
    return ""
