"""A factor that tasks of this package declare."""

from tasks.spec import Factor

DEAD_ZONE = Factor(
    name="dead_zone",
    category="dynamics",
    unit="1",
    nominal=0.0,
    ranges={"r1": (0.0, 0.02), "r2": (0.0, 0.05), "r3": (0.0, 0.1)},
    evaluation=(0.0, 0.2),
    effect="example.dead_zone",
    lowest=0.0,
    doc="actions up to this size do nothing",
)
