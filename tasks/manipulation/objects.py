"""Things that robots handle: a floor, and objects of which some are in play while the others are put away.

Shapes cannot change while an engine runs, so every env holds every object of its task, and a reset chooses which of
them take part. A grade that moves sizes or shapes is thus exact in every env, at the price of a few resting bodies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import AssetBaseCfg, RigidObjectCfg, RigidObjectCollectionCfg
from isaaclab.sim.spawners.materials import UsdPhysicsRigidBodyMaterialCfg
from isaaclab_newton.sim.schemas import MujocoCollisionCfg

from tasks.core.env_state import EnvState, episode_state
from tasks.cuda import rotations

USD = Path(__file__).with_name("usd")
OBJECTS = "objects"  # their name in the scene
PARKED = (0.35, -0.62)  # [m] where the row of objects that are not in play begins: beside what the hand can reach
PARKED_APART = 0.15  # [m]

# On Newton fingers would sink millimetres into what they grip: MuJoCo's contacts give way in proportion to the
# acceleration that they hold back, and an object that is gripped is light.
HARD = MujocoCollisionCfg(priority=1, solimp=(0.98, 0.998, 0.001, 0.5, 2.0))

# Solver settings for `newton_mjwarp` with which grips do not slip and cubes rest on each other: with the pyramidal cone
# fingers slip or shake, and with MuJoCo's own collision detection a cube rocks on another.
CONTACTS = {"cone": "elliptic", "impratio": 10, "use_mujoco_contacts": False}


def friction(coefficient: float = 1.0) -> UsdPhysicsRigidBodyMaterialCfg:
    """A surface. Of two that touch PhysX takes the average and Newton the larger one, so all here are alike."""
    return UsdPhysicsRigidBodyMaterialCfg(static_friction=coefficient, dynamic_friction=coefficient, restitution=0.0)


def floor() -> AssetBaseCfg:
    """A plane at z = 0, on which all objects rest.

    On a box, large or small, PhysX loses cylinders and Newton makes cubes rock or lets them through.
    """
    return AssetBaseCfg(
        prim_path="/World/floor",
        spawn=sim_utils.UsdFileCfg(usd_path=str(USD / "floor.usda"), physics_material=friction()),
    )


def table(pedestal: float) -> dict[str, AssetBaseCfg]:
    """What a picture shows at the place of the floor, and a block of the given height [m] below the robot."""
    size = {"table": (1.2, 1.5, 0.1), "pedestal": (0.25, 0.25, pedestal)}
    place = {"table": (0.4, 0.0, -0.0501), "pedestal": (-0.05, 0.0, pedestal / 2)}
    color = sim_utils.PreviewSurfaceCfg(diffuse_color=(0.45, 0.36, 0.28))
    return {
        name: AssetBaseCfg(
            prim_path=f"{{ENV_REGEX_NS}}/{name.capitalize()}",
            spawn=sim_utils.CuboidCfg(size=size[name], visual_material=color),
            init_state=AssetBaseCfg.InitialStateCfg(pos=place[name]),
        )
        for name in size
    }


def body(shape: type, color: tuple[float, float, float], density: float = 400.0, **dimensions: Any) -> Any:
    """A free rigid body: a spawner of class `shape` with its dimensions [m] and density [kg/m³]."""
    return shape(
        rigid_props=sim_utils.UsdPhysicsRigidBodyCfg(),
        collision_props=[sim_utils.UsdPhysicsCollisionCfg(), HARD],
        mass_props=sim_utils.MassCfg(density=density),
        physics_material=friction(),
        visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=color),
        **dimensions,
    )


def cube(edge: float, color: tuple[float, float, float] = (0.8, 0.2, 0.1)) -> Any:
    """A cube with the given edge [m]."""
    return body(sim_utils.CuboidCfg, color, size=(edge, edge, edge))


def collection(**bodies: Any) -> RigidObjectCollectionCfg:
    """The objects of a scene, by name, put away."""
    return RigidObjectCollectionCfg(
        rigid_objects={
            name: RigidObjectCfg(
                prim_path=f"{{ENV_REGEX_NS}}/Object_{name}",
                spawn=spawner,
                init_state=RigidObjectCfg.InitialStateCfg(  # on the floor: `rest_height` reads its height from here
                    pos=(PARKED[0] + PARKED_APART * k, PARKED[1], sum(_extents(spawner)[2:]))
                ),
            )
            for k, (name, spawner) in enumerate(bodies.items())
        }
    )


def rest_height(env: EnvState, chosen: torch.Tensor) -> torch.Tensor:
    """Height of the centre of each object in `chosen` above what it stands on, of the same shape [m]."""
    return env.scene[OBJECTS].data.default_body_pose.torch[0, :, 2][chosen]


@episode_state
def _chosen(env: EnvState) -> torch.Tensor:
    """Id of the object that plays each part [N, objects]; part p is object p until `place` says otherwise."""
    return torch.arange(env.scene[OBJECTS].num_bodies, device=env.device).repeat(env.num_envs, 1)


def parked(env: EnvState, chosen: torch.Tensor) -> torch.Tensor:
    """Where each object in `chosen` [k, parts] is while put away, in the frame of the env [k, parts, 3] [m]."""
    return env.scene[OBJECTS].data.default_body_pose.torch[0, :, :3][chosen].clone()


def place(
    env: EnvState, env_ids: torch.Tensor, chosen: torch.Tensor, position: torch.Tensor, orientation: torch.Tensor
) -> None:
    """Bring objects into play, at rest, and put all others away.

    Args:
        env: the env.
        env_ids: rows [k] int32.
        chosen: id of the object that plays each part [k, parts]; an object plays one part at most.
        position: of each part in the frame of the env [k, parts, 3] [m].
        orientation: of each part [k, parts, 4] (x, y, z, w).
    """
    bodies = env.scene[OBJECTS]
    _chosen(env)[env_ids, : chosen.shape[1]] = chosen
    poses = bodies.data.default_body_pose.torch[env_ids].clone()
    slot = chosen[..., None].expand(-1, -1, 7)
    poses.scatter_(1, slot, torch.cat((position, orientation), dim=-1))
    poses[..., :3] += env.scene.env_origins[env_ids, None]
    bodies.write_body_pose_to_sim_index(body_poses=poses, env_ids=env_ids)
    bodies.write_body_velocity_to_sim_index(body_velocities=torch.zeros_like(poses[..., :6]), env_ids=env_ids)


Part = int | torch.Tensor
"""A part that an object plays, in all envs or [N] for each."""


def _player(env: EnvState, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows, and the id of the object that plays the part in each of them: two of [N]."""
    rows = env.once(_rows)
    return rows, _chosen(env)[:, part] if isinstance(part, int) else _chosen(env)[rows, part]


def _rows(env: EnvState) -> torch.Tensor:
    return torch.arange(env.num_envs, device=env.device)


def chosen_height(env: EnvState, part: Part = 0) -> torch.Tensor:
    """`rest_height` of the object that plays the part [N] [m]."""
    return rest_height(env, _player(env, part)[1])


def clearance(env: EnvState, part: Part = 0) -> torch.Tensor:
    """Height of the lowest point of the object that plays the part above the floor [N] [m]: tilting it adds nothing.

    A cylinder counts as the box around it.
    """
    extents = env.once(_all_extents)[_player(env, part)[1]]
    down = env.now(_turn, part)[:, 2].abs()
    return position(env, part)[:, 2] - (down * extents[:, :3]).sum(dim=-1) - extents[:, 3]


def _all_extents(env: EnvState) -> torch.Tensor:
    spawners = [body.spawn for body in env.scene[OBJECTS].cfg.rigid_objects.values()]
    return torch.tensor([_extents(spawner) for spawner in spawners], device=env.device)


def _extents(spawner: Any) -> tuple[float, float, float, float]:
    """Half the edges of the box that a ball sweeps to make the body, and the ball's radius [m]."""
    if hasattr(spawner, "size"):
        return (*(edge / 2 for edge in spawner.size), 0.0)
    if hasattr(spawner, "height"):
        return spawner.radius, spawner.radius, spawner.height / 2, 0.0
    return 0.0, 0.0, 0.0, spawner.radius


def position(env: EnvState, part: Part = 0) -> torch.Tensor:
    """Where the object that plays the part is, in the frame of the env [N, 3] [m]."""
    return env.now(_position, part)


def _position(env: EnvState, part: Part) -> torch.Tensor:
    return env.scene[OBJECTS].data.body_link_pos_w.torch[_player(env, part)] - env.scene.env_origins


def orientation(env: EnvState, part: Part = 0) -> torch.Tensor:
    """How the object that plays the part is turned [N, 4] (x, y, z, w)."""
    return env.scene[OBJECTS].data.body_link_quat_w.torch[_player(env, part)]


def _turn(env: EnvState, part: Part) -> torch.Tensor:
    return rotations.matrix(orientation(env, part))


def axes(env: EnvState, part: Part = 0) -> torch.Tensor:
    """Directions of the object's x and y axes in the base frame [N, 6]."""
    return env.now(_turn, part)[..., :2].transpose(-1, -2).flatten(1)


def velocity(env: EnvState, part: Part = 0) -> torch.Tensor:
    """Linear velocity of the object that plays the part [N, 3] [m/s]."""
    return env.scene[OBJECTS].data.body_com_lin_vel_w.torch[_player(env, part)]


def spin(env: EnvState, part: Part = 0) -> torch.Tensor:
    """Angular velocity of the object that plays the part [N, 3] [rad/s]."""
    return env.scene[OBJECTS].data.body_com_ang_vel_w.torch[_player(env, part)]


def draw(env: EnvState, name: str) -> torch.Tensor:
    """Ids of objects [N], each uniform among the first so many that the grade parameter `name` says."""
    return env.draws.below(name, (env.param(name) + 1e-4).floor())


def upright(env: EnvState, name: str, part: int = 0) -> torch.Tensor:
    """Orientations [N, 4] (x, y, z, w), turned about the vertical by up to the grade parameter `name` [rad]."""
    return rotations.about_vertical(env.param(name) * env.draws.within(f"{name}{part}"))


def left(env: EnvState, arena: tuple[tuple[float, float], tuple[float, float]], parts: int = 1) -> torch.Tensor:
    """One of the first `parts` objects in play is outside the rectangle with these corners [m] [N] bool."""
    low, high = env.constant(arena)
    at = torch.stack([position(env, part)[:, :2] for part in range(parts)], dim=1)
    return ((at < low) | (at > high)).flatten(1).any(dim=-1)
