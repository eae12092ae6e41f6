"""Robots on the ground: what the locomotion tasks share."""

from __future__ import annotations

import isaaclab.envs.mdp as mdp
from isaaclab.assets import AssetBaseCfg
from isaaclab.managers import EventTermCfg, SceneEntityCfg
from isaaclab.sim.spawners.materials import UsdPhysicsRigidBodyMaterialCfg
from isaaclab_physx.sim.spawners.materials.physics_materials_cfg import PhysxMaterialCfg

from tasks import terms

FRICTION = 1.0
"""Coefficient between a robot and the floor."""


def floor() -> AssetBaseCfg:
    """A flat floor on which the robot's friction counts alone, on every engine.

    PhysX averages the two coefficients of a contact and MuJoCo takes the larger one, and their defaults differ. So
    the floor has next to none, both take the larger one, and `grip` sets the robot's.
    """
    cfg = terms.ground()
    cfg.spawn.physics_material = [
        UsdPhysicsRigidBodyMaterialCfg(static_friction=0.01, dynamic_friction=0.01, restitution=0.0),
        PhysxMaterialCfg(friction_combine_mode="max"),
    ]
    return cfg


def grip() -> EventTermCfg:
    """Set the friction of all of the robot, once."""
    return EventTermCfg(
        func=mdp.randomize_rigid_body_material,
        mode="startup",
        params={
            "asset_cfg": SceneEntityCfg("robot"),
            "static_friction_range": (FRICTION, FRICTION),
            "dynamic_friction_range": (FRICTION, FRICTION),
            "restitution_range": (0.0, 0.0),
            "num_buckets": 1,
        },
    )
