"""`cartpole-balance`: a pole on a cart has to be brought upright, at the rail's centre, and kept there."""

from __future__ import annotations

import math

from tasks.factors import catalogue
from tasks.spec import GradeParam, SafetyLimit, TaskSpec, Term, View

SPEC = TaskSpec(
    name="cartpole-balance",
    summary="Bring a pole on a cart upright at the centre of the rail and keep it there.",
    robot="cart-pole (newton)",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.classic.cartpole_balance.mdp:make_env",
    observations=(
        Term("cart_position", 1, "m", sigma=0.01),
        Term("cart_velocity", 1, "m/s", sigma=0.05),
        Term("pole_direction", 2, "1", "sine and cosine of the pole's angle; upright is (0, 1)", sigma=0.01),
        Term("pole_velocity", 1, "rad/s", sigma=0.1),
    ),
    actions=(Term("force", 1, "force limit", "force on the cart along the rail"),),
    physics_dt=1 / 120,
    decimation=2,
    episode_length_s=6.0,
    success="pole within 0.2 rad of upright and cart within 0.5 m of the centre",
    success_hold_s=1.0,
    success_when="end",
    grades={
        "initial_angle": GradeParam((0.1, 0.3, 0.5, 1.2, math.pi), "rad", "largest angle of the pole at the start"),
        "initial_position": GradeParam((0.2, 0.4, 0.6, 0.8, 1.0), "m", "largest distance of the cart at the start"),
        "fall_angle": GradeParam((1.2, 1.2, 1.2, 3.2, 3.2), "rad", "angle that ends the episode; over pi: none does"),
        "force_limit": GradeParam((60.0, 45.0, 30.0, 18.0, 10.0), "N", "force at full action"),
        "pole_length": GradeParam(
            (1.0, 0.9, 0.8, 0.7, 0.6), "m", "of the pole, which is drawn 1 m long; shorter falls faster"
        ),
        "pole_density": GradeParam(
            (1.0, 1.25, 1.6, 2.0, 2.5), "kg/m", "mass of the pole by its length: 1 kg at g1, 1.5 kg at g5"
        ),
    },
    budgets={"smoke": 500_000, "quick": 1_000_000, "full": 5_000_000},
    view=View(eye=(5.0, 1.0, 2.8), target=(0.0, 0.0, 2.1)),
    discrete_actions=((0.0,), (1.0,), (-1.0,), (0.25,), (-0.25,)),
    safety={"cart_velocity": SafetyLimit(5.0, "m/s", "speed of the cart")},
    factors=(
        catalogue.mass("robot:cart", "cart_mass"),
        catalogue.mass("robot:pole", "pole_mass"),
        catalogue.centre_of_mass("pole", 0.2),
        catalogue.action_strength(),
        catalogue.joint_damping("N·s/m", 20.0, "slider_to_cart"),
        catalogue.gravity(),
        catalogue.action_delay(),
        *catalogue.sensors(catalogue.calibration("cart_position", "m", 0.4)),
        catalogue.push("pole", 10.0),
        catalogue.action_step(),
    ),
    assets=("cartpole",),
)
