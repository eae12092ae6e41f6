"""Effects of factors by name. The names are hashed into protocols and written to files, so a name never changes.

A package adds an effect by an entry point of the group `gradus.factors`: a subclass of
`tasks.factors.signal_effects.Effect`, or of `tasks.factors.physics_effects.LabEffect` for what needs a simulator.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tasks.core.registry import Registry

_EFFECTS = {
    "physics.mass": "tasks.factors.physics_effects:Mass",
    "physics.payload": "tasks.factors.physics_effects:Payload",
    "physics.load": "tasks.factors.physics_effects:Load",
    "physics.centre_of_mass": "tasks.factors.physics_effects:CentreOfMass",
    "physics.friction": "tasks.factors.physics_effects:Friction",
    "physics.restitution": "tasks.factors.physics_effects:Restitution",
    "physics.strength": "tasks.factors.physics_effects:Strength",
    "physics.armature": "tasks.factors.physics_effects:Armature",
    "physics.stiffness": "tasks.factors.physics_effects:Stiffness",
    "physics.damping": "tasks.factors.physics_effects:Damping",
    "physics.added_damping": "tasks.factors.physics_effects:AddedDamping",
    "physics.gravity": "tasks.factors.physics_effects:Gravity",
    "physics.push": "tasks.factors.physics_effects:Push",
    "physics.torque_step": "tasks.factors.physics_effects:TorqueStep",
    "signal.action_delay": "tasks.factors.signal_effects:ActionDelay",
    "signal.action_scale": "tasks.factors.signal_effects:ActionScale",
    "signal.action_step": "tasks.factors.signal_effects:ActionStep",
    "signal.sensor_noise": "tasks.factors.signal_effects:SensorNoise",
    "signal.sensor_bias": "tasks.factors.signal_effects:SensorBias",
    "signal.calibration": "tasks.factors.signal_effects:Calibration",
    "signal.sensor_delay": "tasks.factors.signal_effects:SensorDelay",
    "signal.sensor_dropout": "tasks.factors.signal_effects:SensorDropout",
}


_BASE = "tasks.factors.signal_effects", "Effect"  # by name: effects need torch, and to look up a name does not


def _wrong(name: str, found: Any) -> str | None:
    kinds = [(kind.__module__, kind.__name__) for kind in getattr(found, "__mro__", ())]
    return None if _BASE in kinds else "is no subclass of tasks.factors.signal_effects.Effect"


REGISTRY = Registry[Any]("gradus.factors", "effect", _EFFECTS, _wrong)
"""All effects, as classes."""


def names() -> list[str]:
    """Names that `Factor.effect` may have, beside the `module:class` of an effect of one's own."""
    return REGISTRY.names()


def register(name: str) -> Any:
    """A decorator that adds a class of effects for this process alone."""

    def add(effect: type) -> type:
        REGISTRY.register(name, effect)
        return effect

    return add


def load(effect: str) -> Any:
    """The class that carries out `effect`: a name of `names()`, or `module:class`.

    Raises `ValueError` for another name.
    """
    module, colon, name = effect.partition(":")
    if colon:
        return getattr(import_module(module), name)
    if effect not in REGISTRY:
        raise ValueError(f"unknown effect {effect!r}; valid: module:class, {', '.join(names())}")
    return REGISTRY.get(effect)
