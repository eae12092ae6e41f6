"""Factors that several tasks declare: one function each, with the ranges that fit most robots.

Plain data; `tasks.factors.physics_effects` and `tasks.factors.signal_effects` carry them out. A task that needs another
range or another factor says so with `dataclasses.replace`, or declares its own `Factor`: training, evaluation, tables
and figures read the spec.

Ranges follow what published sim-to-real work randomises (Peng et al. 2018, arXiv:1710.06537; OpenAI et al. 2019,
arXiv:1910.07113; Rudin et al. 2022, arXiv:2109.11978); an evaluation range reaches beyond the widest training level.
"""

from __future__ import annotations

import math
from typing import Any

from tasks.spec import Factor

Levels = dict[str, tuple[float, float]]


def _scale(low: tuple[float, float, float], high: tuple[float, float, float]) -> Levels:
    return dict(zip(("r1", "r2", "r3"), zip(low, high, strict=True), strict=True))


def _up_to(*high: float) -> Levels:
    return _scale((0.0, 0.0, 0.0), high)


def _either_way(*high: float) -> Levels:
    return {level: (-value, value) for level, value in zip(("r1", "r2", "r3"), high, strict=True)}


def _part(
    name: str,
    category: Any,
    unit: str,
    nominal: float,
    ranges: Levels,
    evaluation: tuple[float, float],
    effect: str,
    on: str,
    lowest: float = -math.inf,
    doc: str = "",
) -> Factor:
    return Factor(name, category, unit, nominal, ranges, evaluation, f"physics.{effect}", on, lowest, doc)


def mass(on: str = "robot", name: str = "mass") -> Factor:
    """Factor on the mass and inertia of an asset's bodies."""
    levels = _scale((0.95, 0.85, 0.7), (1.05, 1.15, 1.3))
    return _part(name, "physical", "1", 1.0, levels, (0.5, 1.8), "mass", on, 0.05, "factor on mass and inertia")


def friction(on: str = "robot") -> Factor:
    """Factor on the coefficients of friction of assets (comma-separated)."""
    levels = _scale((0.85, 0.65, 0.45), (1.1, 1.2, 1.3))
    return _part("friction", "physical", "1", 1.0, levels, (0.2, 1.5), "friction", on, 0.0, f"of {on}, by 0.01")


def restitution(on: str = "robot") -> Factor:
    """Coefficient of restitution of assets (comma-separated). Held out."""
    doc = f"of {on}; MuJoCo-Warp has none and ignores it"
    return _part("restitution", "physical", "1", 0.0, {}, (0.0, 0.9), "restitution", on, 0.0, doc)


def centre_of_mass(body: str, largest: float) -> Factor:
    """Shift of a body's centre of mass along its x axis, up to `largest` [m] in evaluations."""
    levels = _either_way(0.15 * largest, 0.3 * largest, 0.6 * largest)
    doc = f"shift along the x axis of {body}"
    return _part(
        "centre_of_mass", "physical", "m", 0.0, levels, (-largest, largest), "centre_of_mass", f"robot:{body}", doc=doc
    )


def joint_gain() -> Factor:
    """Factor on the position gain of the drives."""
    levels = _scale((0.95, 0.85, 0.7), (1.05, 1.15, 1.3))
    return _part("joint_gain", "dynamics", "1", 1.0, levels, (0.4, 1.8), "stiffness", "robot", 0.05, "of the drives")


def strength() -> Factor:
    """Factor on the effort limits of the joints."""
    levels = _scale((0.95, 0.85, 0.7), (1.0, 1.05, 1.1))
    return _part("strength", "dynamics", "1", 1.0, levels, (0.3, 1.2), "strength", "robot", 0.01, "of the joints")


def action_strength() -> Factor:
    """Factor on actions that are forces or torques."""
    levels = _scale((0.95, 0.85, 0.7), (1.05, 1.15, 1.3))
    doc = "factor on the force or torque"
    return Factor("strength", "dynamics", "1", 1.0, levels, (0.3, 1.6), "signal.action_scale", lowest=0.01, doc=doc)


def joint_damping(unit: str, largest: float, joints: str = ".*") -> Factor:
    """Damping added to the joints, up to `largest` in evaluations."""
    levels = _up_to(0.1 * largest, 0.25 * largest, 0.5 * largest)
    on = f"robot:{joints}"
    return _part("joint_damping", "dynamics", unit, 0.0, levels, (0.0, largest), "added_damping", on, 0.0, "added")


def armature() -> Factor:
    """Factor on the inertia of the rotors. Held out."""
    return _part("armature", "dynamics", "1", 1.0, {}, (0.2, 3.0), "armature", "robot", 0.0, "of the joints")


def gravity() -> Factor:
    """Factor on the weight of the robot. Held out."""
    return _part("gravity", "dynamics", "1", 1.0, {}, (0.7, 1.3), "gravity", "robot", 0.0, "on the robot")


def payload(body: str, largest: float, compensated: bool = False) -> Factor:
    """Point mass on a body, up to `largest` [kg] in evaluations; `compensated`: gravity does not pull the robot."""
    levels = _up_to(0.1 * largest, 0.25 * largest, 0.5 * largest)
    effect = "load" if compensated else "payload"
    return _part(
        "payload", "disturbance", "kg", 0.0, levels, (0.0, largest), effect, f"robot:{body}", 0.0, f"on {body}"
    )


def push(body: str, largest: float) -> Factor:
    """Horizontal force on a body for 0.2 s, about every 3 s, up to `largest` [N] in evaluations."""
    levels = _up_to(0.1 * largest, 0.25 * largest, 0.5 * largest)
    doc = f"horizontal force on {body} for 0.2 s, about every 3 s"
    return _part("push_force", "disturbance", "N", 0.0, levels, (0.0, largest), "push", f"robot:{body}", 0.0, doc)


def torque_step(largest: float, joints: str = ".*") -> Factor:
    """Torque on joints from a random time on, up to `largest` [N·m] in evaluations. Held out."""
    doc = "on each joint, either way, from a random time on"
    on = f"robot:{joints}"
    return _part("torque_step", "disturbance", "N·m", 0.0, {}, (0.0, largest), "torque_step", on, 0.0, doc)


def action_step() -> Factor:
    """Constant added to actions that are forces or torques, from a random time on. Held out."""
    doc = "added to each action, either way, from a random time on"
    return Factor(
        "torque_step", "disturbance", "action", 0.0, {}, (0.0, 0.6), "signal.action_step", lowest=0.0, doc=doc
    )


def calibration(term: str, unit: str, largest: float) -> Factor:
    """Constant error of each element of an observation, up to `largest` in evaluations: joint zeros, say."""
    levels = _up_to(0.1 * largest, 0.25 * largest, 0.5 * largest)
    doc = f"constant error of each {term} that the policy sees"
    effect = "signal.calibration"
    return Factor("calibration", "sensor", unit, 0.0, levels, (0.0, largest), effect, term, 0.0, doc)


def legged(base: str, weight: float, length: float, torque: float) -> tuple[Factor, ...]:
    """The factors of a legged robot under position control.

    Args:
        base: name of its base link.
        weight: of the robot [kg]; payload and pushes are in proportion.
        length: of the trunk [m]; the shift of the centre of mass is in proportion.
        torque: that its weaker joints can give [N·m].
    """
    return (
        mass(),
        friction(),
        restitution(),
        centre_of_mass(base, 0.25 * length),
        joint_gain(),
        strength(),
        joint_damping("N·m·s/rad", 0.05 * torque),
        armature(),
        gravity(),
        action_delay(),
        *sensors(calibration("joint_position", "rad", 0.2)),
        payload(base, 0.4 * weight),
        push(base, weight * 9.81),
        torque_step(0.2 * torque),
    )


def arm(hand: str, handled: str = "", joints: str = "panda_joint.*") -> tuple[Factor, ...]:
    """The factors of a Panda.

    Args:
        hand: name of its last link.
        handled: the asset that it handles, `objects` say, and then its weight is compensated; none if empty.
        joints: name pattern of the arm's joints.
    """
    surfaces = f"robot,{handled}"
    with_objects = (mass(handled, "object_mass"), friction(surfaces), restitution(surfaces))
    return (
        mass(),
        *(with_objects if handled else ()),
        joint_gain(),
        strength(),
        joint_damping("N·m·s/rad", 40.0, joints),
        armature(),
        action_delay(),
        *sensors(calibration("joint_position", "rad", 0.1)),
        payload(hand, 3.0, compensated=bool(handled)),
        push(hand, 60.0),
        torque_step(15.0, joints),
    )


def action_delay() -> Factor:
    """Control steps between an action and what it does."""
    return Factor(
        name="action_delay",
        category="dynamics",
        unit="control steps",
        nominal=0.0,
        ranges=_up_to(1.0, 2.0, 3.0),
        evaluation=(0.0, 5.0),
        effect="signal.action_delay",
        lowest=0.0,
        doc="rounded to whole steps; zeros come before the first action",
    )


def sensors(*calibration: Factor) -> tuple[Factor, ...]:
    """Errors of what the policy sees, in the order in which they come about. Bias and dropout are held out."""
    return (
        *calibration,
        Factor(
            name="sensor_bias",
            category="sensor",
            unit="sigma",
            nominal=0.0,
            ranges={},
            evaluation=(0.0, 3.0),
            effect="signal.sensor_bias",
            lowest=0.0,
            doc="standard deviation of a constant error of each observation, in units of its usual noise",
        ),
        Factor(
            name="sensor_noise",
            category="sensor",
            unit="sigma",
            nominal=0.0,
            ranges=_up_to(0.5, 1.0, 2.0),
            evaluation=(0.0, 4.0),
            effect="signal.sensor_noise",
            lowest=0.0,
            doc="standard deviation of white noise in each observation, in units of its usual noise",
        ),
        Factor(
            name="sensor_delay",
            category="sensor",
            unit="control steps",
            nominal=0.0,
            ranges=_up_to(1.0, 1.5, 2.0),
            evaluation=(0.0, 4.0),
            effect="signal.sensor_delay",
            lowest=0.0,
            doc="age of the observations, rounded to whole steps",
        ),
        Factor(
            name="sensor_dropout",
            category="sensor",
            unit="1",
            nominal=0.0,
            ranges={},
            evaluation=(0.0, 0.5),
            effect="signal.sensor_dropout",
            lowest=0.0,
            doc="probability that an observation is missed and the one before it stands in",
        ),
    )
