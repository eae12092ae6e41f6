"""`toy-reach`: a point mass on a plane, in torch alone, for tests of all that is not physics.

The point starts at the origin's neighbourhood and has to stop at a goal. The grade moves the goal away and
shrinks the tolerance; leaving the arena ends the episode.
"""

from __future__ import annotations

from tasks.factors import catalogue
from tasks.spec import Factor, GradeParam, TaskSpec, Term, axis_actions

SPEC = TaskSpec(
    name="toy-reach",
    summary="A point mass has to reach a goal on a plane and stay there (no simulator; for tests).",
    robot="point mass",
    engines=("torch",),
    make_env="tasks.toy.env:make_env",
    observations=(
        Term("position", 2, "m", sigma=0.01),
        Term("velocity", 2, "m/s", sigma=0.02),
        Term("goal", 2, "m", "goal minus position", sigma=0.01),
    ),
    actions=(Term("acceleration", 2, "4 m/s²"),),
    physics_dt=0.05,
    decimation=1,
    episode_length_s=2.5,
    success="distance to the goal under the tolerance",
    success_hold_s=0.25,
    success_when="end",
    grades={
        "distance": GradeParam((0.3, 0.5, 0.7, 0.9, 1.1), "m", "largest distance of the goal"),
        "tolerance": GradeParam((0.2, 0.15, 0.1, 0.05, 0.02), "m", "distance that counts as there"),
    },
    budgets={"smoke": 100_000, "quick": 300_000, "full": 1_000_000},
    factors=(
        Factor(
            name="mass",
            category="physical",
            unit="1",
            nominal=1.0,
            ranges={"r1": (0.9, 1.1), "r2": (0.7, 1.4), "r3": (0.5, 2.0)},
            evaluation=(0.4, 3.0),
            effect="",  # the env reads it
            lowest=0.05,
            doc="of the point",
        ),
        Factor(
            name="drag",
            category="dynamics",
            unit="1/s",
            nominal=0.0,
            ranges={},
            evaluation=(0.0, 2.0),
            effect="",
            lowest=0.0,
            doc="force against the velocity",
        ),
        catalogue.action_delay(),
        *catalogue.sensors(),
        Factor(
            name="wind",
            category="disturbance",
            unit="m/s²",
            nominal=0.0,
            ranges={"r1": (-0.2, 0.2), "r2": (-0.5, 0.5), "r3": (-1.0, 1.0)},
            evaluation=(-2.0, 2.0),
            effect="",
            doc="constant force to the east",
        ),
    ),
    discrete_actions=axis_actions(2),
)
