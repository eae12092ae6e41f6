"""Factors that several tasks declare: one function each, with the ranges that fit most robots.

Plain data; `tasks.effects` and `tasks.signals` carry them out. A task that needs another range or another factor says
so with `dataclasses.replace`, or declares its own `Factor`: training, evaluation, tables and figures read the spec.

Ranges follow what published sim-to-real work randomises (Peng et al. 2018, arXiv:1710.06537; OpenAI et al. 2019,
arXiv:1910.07113; Rudin et al. 2022, arXiv:2109.11978); an evaluation range reaches beyond the widest training level.
"""

from __future__ import annotations

from tasks.spec import Factor

Levels = dict[str, tuple[float, float]]


def _scale(low: tuple[float, float, float], high: tuple[float, float, float]) -> Levels:
    return dict(zip(("r1", "r2", "r3"), zip(low, high, strict=True), strict=True))


def _up_to(*high: float) -> Levels:
    return _scale((0.0, 0.0, 0.0), high)


def _either_way(*high: float) -> Levels:
    return {level: (-value, value) for level, value in zip(("r1", "r2", "r3"), high, strict=True)}


def action_delay() -> Factor:
    """Control steps between an action and what it does."""
    return Factor(
        name="action_delay",
        category="dynamics",
        unit="control steps",
        nominal=0.0,
        ranges=_up_to(1.0, 2.0, 3.0),
        evaluation=(0.0, 5.0),
        effect="tasks.signals:ActionDelay",
        lowest=0.0,
        doc="rounded to whole steps; zeros come before the first action",
    )


def sensors() -> tuple[Factor, ...]:
    """Errors of what the policy sees, in the order in which they come about. Bias and dropout are held out."""
    return (
        Factor(
            name="sensor_bias",
            category="sensor",
            unit="sigma",
            nominal=0.0,
            ranges={},
            evaluation=(0.0, 3.0),
            effect="tasks.signals:SensorBias",
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
            effect="tasks.signals:SensorNoise",
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
            effect="tasks.signals:SensorDelay",
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
            effect="tasks.signals:SensorDropout",
            lowest=0.0,
            doc="probability that an observation is missed and the one before it stands in",
        ),
    )
