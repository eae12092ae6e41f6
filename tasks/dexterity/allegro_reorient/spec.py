"""`allegro-reorient`: the Allegro hand has to turn a cube in its palm to one orientation after the other."""

from __future__ import annotations

import math
from dataclasses import replace

from tasks.factors import catalogue
from tasks.spec import GradeParam, SafetyLimit, TaskSpec, Term, View, axis_actions

SPEC = TaskSpec(
    name="allegro-reorient",
    summary="Turn a cube in the palm to one orientation after the other, without dropping it.",
    robot="Allegro hand (right)",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.dexterity.allegro_reorient.mdp:make_env",
    observations=(
        Term("joint_position", 16, "rad", "relative to the start pose: index, middle, ring, thumb", sigma=0.005),
        Term("joint_velocity", 16, "5 rad/s", sigma=0.02),
        Term("joint_target", 16, "rad", "from the joint's position", sigma=0.005),
        Term("tip_position", 12, "m", "of the four finger tips, from the cube", sigma=0.003),
        Term("cube_position", 3, "m", "from the middle of the palm", sigma=0.003),
        Term("cube_axes", 6, "1", "directions of the cube's x and y axes", sigma=0.02),
        Term("cube_velocity", 3, "m/s", sigma=0.02),
        Term("cube_spin", 3, "5 rad/s", sigma=0.02),
        Term("goal_rotation", 6, "1", "first two columns of the rotation from the cube to the goal", sigma=0.02),
        Term("goals_left", 1, "1", "orientations still to be reached"),
        Term("last_action", 16, "1"),
    ),
    actions=(Term("joint_target_change", 16, "0.1 rad", "in a control step, of each joint"),),
    physics_dt=1 / 100,
    decimation=4,
    episode_length_s=10.0,
    success="as many orientations reached as the grade asks for, each held within the tolerance",
    success_hold_s=0.2,
    success_when="once",
    grades={
        "rotation": GradeParam((0.7, 1.0, 1.6, 2.4, math.pi), "rad", "largest turn from one orientation to the next"),
        "tilt": GradeParam((0.0, 0.2, 0.5, 1.0, math.pi / 2), "rad", "largest angle of its axis from the vertical"),
        "goals": GradeParam((1, 1, 2, 3, 5), "1", "orientations in a row"),
        "tolerance": GradeParam((0.3, 0.3, 0.25, 0.2, 0.2), "rad", "largest angle from an orientation"),
    },
    budgets={"smoke": 30_000, "quick": 10_000_000, "full": 20_000_000},
    view=View(eye=(0.31, 0.24, 0.8), target=(0.02, 0.0, 0.575), marks="tasks.dexterity.allegro_reorient.mdp:marks"),
    discrete_actions=axis_actions(16),
    safety={
        "joint_velocity": SafetyLimit(7.0, "rad/s", "speed of a joint, limit in the hand's URDF"),
        "joint_position": SafetyLimit(0.0, "rad", "distance from a joint's position limit"),
    },
    factors=(
        catalogue.mass(),
        catalogue.mass("objects", "object_mass"),
        catalogue.friction("robot,objects"),
        catalogue.restitution("robot,objects"),
        catalogue.joint_gain(),
        catalogue.strength(),
        catalogue.joint_damping("N·m·s/rad", 0.3),
        catalogue.armature(),
        catalogue.action_delay(),
        *catalogue.sensors(catalogue.calibration("joint_position", "rad", 0.2)),
        replace(catalogue.push("the cube", 0.8), on="objects:cube"),  # its weight
        catalogue.torque_step(0.15),
    ),
    assets=("allegro",),
)
