"""Effects of factors by name. The names are hashed into protocols and written to files, so a name never changes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

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


def names() -> list[str]:
    """Names that `Factor.effect` may have, beside the `module:class` of an effect of one's own."""
    return list(_EFFECTS)


def load(effect: str) -> Any:
    """The class that carries out `effect`: a name of `names()`, or `module:class`.

    Raises `ValueError` for another name.
    """
    path = _EFFECTS.get(effect, effect)
    module, colon, name = path.partition(":")
    if not colon:
        raise ValueError(f"unknown effect {effect!r}; valid: module:class, {', '.join(_EFFECTS)}")
    return getattr(import_module(module), name)
