"""Generated terrain: a grid of tiles whose rows are difficulties and whose columns are kinds of ground."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import numpy as np
import torch
import trimesh
from isaaclab import terrains
from isaaclab.sim.schemas import apply_namespaced
from isaaclab.terrains.trimesh.mesh_terrains import gap_terrain
from isaaclab.utils import configclass
from isaaclab.utils.math import quat_apply, quat_apply_inverse, yaw_quat
from isaaclab.utils.warp import convert_to_warp_mesh, raycast_mesh
from isaaclab_physx.sim.schemas import PhysxCollisionCfg

from tasks.core.draws import direction
from tasks.core.env_state import EnvState
from tasks.cuda.record import starts
from tasks.cuda.rotations import about_vertical
from tasks.isaaclab import camera, terms
from tasks.isaaclab.camera import Mark
from tasks.spec import GradeParam

KINDS = ("slope_up", "slope_down", "rough", "stairs_up", "stairs_down", "gap")
ROWS = 17  # four between two grades, so that every grade has a row of its own
TILE = 8.0  # [m] side of a tile; the robot starts in its middle
PLATFORM = 2.0  # [m] side of the flat square in the middle of a tile
STAIR = 0.3  # [m] depth
GAP_DEPTH = 0.95  # [m]
CELL = 0.05  # [m] between two samples of the ground's height
# [m] At this distance PhysX begins to look for contacts. What it chooses itself for so large a mesh makes a step take
# twice as long. (Newton keeps its own: it would need a rest offset besides.)
CONTACT_OFFSET = 0.02
GOAL = 3.2  # [m] from the middle of a tile to the square on which the goals lie: beyond the gap, on the eighth stair


def gap_with_floor(difficulty: float, cfg: terrains.MeshGapTerrainCfg) -> tuple[list[trimesh.Trimesh], np.ndarray]:
    """Isaac Lab's gap around a platform, with a bottom: a ray into it hits something, and nothing falls forever."""
    meshes, origin = gap_terrain(difficulty, cfg)
    bottom = trimesh.creation.box((*cfg.size, 0.1))
    bottom.apply_translation((cfg.size[0] / 2, cfg.size[1] / 2, -GAP_DEPTH - 0.05))
    return [*meshes, bottom], origin


def _tile(kind: str, grades: Mapping[str, GradeParam], difficulty: float) -> terrains.SubTerrainBaseCfg:
    slope, rough, step, gap = (grades[name].at(difficulty) for name in ("slope", "roughness", "step", "gap"))
    flat = {"platform_width": PLATFORM, "border_width": 0.2}
    stairs = {"step_height_range": (step, step), "step_width": STAIR, **flat}
    return {
        "slope_up": lambda: terrains.HfInvertedPyramidSlopedTerrainCfg(slope_range=(slope, slope), **flat),
        "slope_down": lambda: terrains.HfPyramidSlopedTerrainCfg(slope_range=(slope, slope), **flat),
        "rough": lambda: terrains.HfRandomUniformTerrainCfg(
            noise_range=(-rough, rough), noise_step=0.005, border_width=0.2
        ),
        "stairs_up": lambda: terrains.MeshInvertedPyramidStairsTerrainCfg(**stairs),
        "stairs_down": lambda: terrains.MeshPyramidStairsTerrainCfg(**stairs),
        "gap": lambda: terrains.MeshGapTerrainCfg(
            function=gap_with_floor, gap_width_range=(gap, gap), platform_width=PLATFORM
        ),
    }[kind]()


class Ground(terrains.TerrainImporter):
    """A terrain whose height can be looked up anywhere.

    Isaac Lab's ray caster would do the same, but on OVPhysX it returns the rows of its envs in the alphabetical order
    of their names (seen with isaaclab 3.0.0: env_10 comes before env_2).
    """

    def import_mesh(self, name: str, mesh: trimesh.Trimesh) -> None:
        """Import the mesh, and sample its height [m] every `CELL` [m] by rays from above."""
        super().import_mesh(name, mesh)
        apply_namespaced(PhysxCollisionCfg(contact_offset=CONTACT_OFFSET), f"{self.cfg.prim_path}/{name}/mesh")
        self._low = torch.tensor(mesh.bounds[0][:2], dtype=torch.float32, device=self.device)
        width, length = ((mesh.bounds[1] - mesh.bounds[0])[:2] / CELL).round().astype(int)
        x, y = torch.meshgrid(torch.arange(width + 1), torch.arange(length + 1), indexing="ij")
        start = torch.stack((x * CELL, y * CELL, torch.full_like(x, 1.0)), dim=-1).reshape(-1, 3).to(self.device)
        start[:, :2] += self._low
        start[:, 2] += float(mesh.bounds[1][2])
        inside = (start[:, :2] - start[:, :2].mean(dim=0)) * (1.0 - 1e-6)  # a ray down the very edge would miss
        start[:, :2] = inside + start[:, :2].mean(dim=0)
        down = torch.tensor((0.0, 0.0, -1.0), device=self.device).expand_as(start).contiguous()
        hits = raycast_mesh(start, down, convert_to_warp_mesh(mesh.vertices, mesh.faces, device=self.device))[0]
        self.heights = hits[:, 2].reshape(width + 1, length + 1)

    def height_at(self, points: torch.Tensor) -> torch.Tensor:
        """Height of the ground at points [..., 2] of the world [m], linear between samples; off the edge the edge's."""
        cell = (points - self._low) / CELL
        x, y = (cell[..., k].clamp(0.0, self.heights.shape[k] - 1.001) for k in (0, 1))
        i, j = x.long(), y.long()
        u, v = x - i, y - j
        near = torch.lerp(self.heights[i, j], self.heights[i + 1, j], u)
        far = torch.lerp(self.heights[i, j + 1], self.heights[i + 1, j + 1], u)
        return torch.lerp(near, far, v)


class GradedTerrain(terrains.TerrainGenerator):
    """Tiles in the order of `sub_terrains`, row by row, each exactly as configured, the same wherever it is made.

    Isaac Lab's own orders draw a tile's difficulty at random within its row, and its rough ground draws from NumPy's
    global generator.
    """

    def _generate_curriculum_terrains(self) -> None:
        state = np.random.get_state()
        np.random.seed(self.cfg.seed)
        try:
            for index, cfg in enumerate(self.cfg.sub_terrains.values()):
                row, column = divmod(index, self.cfg.num_cols)
                self._add_sub_terrain(*self._get_terrain_mesh(0.0, cfg), row, column, cfg)
        finally:
            np.random.set_state(state)


@configclass
class GradedTerrainCfg(terrains.TerrainGeneratorCfg):
    """See `GradedTerrain`."""

    class_type: type = GradedTerrain


def importer(grades: Mapping[str, GradeParam], material: list[Any]) -> terrains.TerrainImporterCfg:
    """The grid of `ROWS` difficulties from 0 to 1 by `KINDS`, with the physics material of a floor.

    `grades` holds `slope` [rise over run], `roughness` [m] up or down, `step` and `gap` [m].
    """
    tiles = {f"{kind}-{row}": _tile(kind, grades, row / (ROWS - 1)) for row in range(ROWS) for kind in KINDS}
    generator = GradedTerrainCfg(
        seed=0,
        curriculum=True,
        size=(TILE, TILE),
        border_width=4.0,
        num_rows=ROWS,
        num_cols=len(KINDS),
        horizontal_scale=0.2,
        vertical_scale=0.001,
        slope_threshold=None,
        sub_terrains=tiles,
    )
    return terrains.TerrainImporterCfg(
        class_type=Ground,
        prim_path="/World/ground",
        terrain_generator=generator,
        physics_material=material,
        visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=(0.35, 0.33, 0.3)),
    )


class GoalCommand(terms.EpisodeCommand):
    """A goal on the square `GOAL` around the middle of the robot's tile, one per episode, in a random direction.

    As a command it is the twist that leads there: towards it at `pace` [m/s], turning to face it, and slower from
    twice `near` [m] on.
    """

    cfg: GoalCommandCfg

    def __init__(self, cfg: GoalCommandCfg, env: EnvState) -> None:
        """Start with every goal at the origin of the world."""
        super().__init__(cfg, env)
        self.origin = torch.zeros(self.num_envs, 3, device=self.device)  # of the robot's tile; `stand_on_tile` sets it
        self.goal = torch.zeros(self.num_envs, 2, device=self.device)

    @property
    def command(self) -> torch.Tensor:
        """Velocity forward and left [m/s] and yaw rate [rad/s], in the base's horizontal frame [N, 3]."""
        return self._env.now(_twist_to_goal, self.cfg.pace, self.cfg.near)

    def _resample_command(self, env_ids: torch.Tensor) -> None:
        self.goal.index_copy_(0, env_ids.long(), starts(self._env, env_ids, self._on_square))

    def _on_square(self, env: EnvState) -> torch.Tensor:
        """Goals [N, 2] on the square around `origin`."""
        way = direction(2.0 * torch.pi * env.draws.uniform("goal"))
        return self.origin[:, :2] + GOAL * way / way.abs().amax(dim=-1, keepdim=True)

    def _update_command(self) -> None:
        pass


@configclass
class GoalCommandCfg(terms.EpisodeCommandCfg):
    """See `GoalCommand`."""

    class_type: type = GoalCommand
    pace: float = MISSING  # [m/s]
    near: float = MISSING  # [m]


def _twist_to_goal(env: EnvState, pace: float, near: float) -> torch.Tensor:
    goal = goal_in_base(env)
    distance = goal.norm(dim=-1, keepdim=True)
    slower = (distance / (2.0 * near)).clamp(max=1.0)
    velocity = pace * slower * goal / distance.clamp(min=1e-6)
    yaw_rate = slower[:, 0] * torch.atan2(goal[:, 1], goal[:, 0]).clamp(-1.0, 1.0)
    return torch.cat((velocity, yaw_rate[:, None]), dim=-1)


def _yaw(env: EnvState) -> torch.Tensor:
    return yaw_quat(env.scene["robot"].data.root_quat_w.torch)


def stand_on_tile(env: EnvState, env_ids: torch.Tensor) -> None:
    """Put robots in the middle of a tile: of their difficulty, of a random kind, facing anywhere."""
    origin, pose = starts(env, env_ids, _tile_starts)
    env.command_manager.get_term("twist").origin.index_copy_(0, env.rows(env_ids), origin)
    env.runtime.put_root(env, env_ids, env.once(terms.rest)[: len(env_ids)], pose)


def _tile_starts(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins of tiles [N, 3] and poses on them [N, 7]."""
    row = (env.difficulty * (ROWS - 1)).round().long()
    origin = env.scene.terrain.terrain_origins[row, env.draws.below("kind", len(KINDS))]
    height = origin[:, 2:] + env.scene["robot"].data.default_root_pose.torch[:, 2:3]
    yaw = torch.pi * env.draws.within("yaw")
    return origin, torch.cat((origin[:, :2], height, about_vertical(yaw)), dim=-1)


def goal_in_base(env: EnvState) -> torch.Tensor:
    """Position of the goal in the base's horizontal frame, forward and left [N, 2] [m]."""
    robot, goal = env.scene["robot"].data, env.command_manager.get_term("twist").goal
    offset = torch.nn.functional.pad(goal - robot.root_pos_w.torch[:, :2], (0, 1))
    return quat_apply_inverse(env.now(_yaw), offset)[:, :2]


def goal_distance(env: EnvState) -> torch.Tensor:
    """Distance from the base to the goal as seen from above [N] [m]."""
    goal = env.command_manager.get_term("twist").goal
    return (goal - env.scene["robot"].data.root_pos_w.torch[:, :2]).norm(dim=-1)


def progress(env: EnvState) -> torch.Tensor:
    """Speed towards the goal as a share of the command's, from -1 to 1, and 1 at the goal [N].

    Linear, unlike the reward for a commanded velocity, so that the first step in the right direction pays (Cheng et
    al. 2023, arXiv:2309.14341).
    """
    robot, twist = env.scene["robot"].data, env.command_manager.get_term("twist")
    wanted = twist.command[:, :2]
    velocity = quat_apply_inverse(env.now(_yaw), robot.root_lin_vel_w.torch)[:, :2]
    share = (velocity * wanted).sum(dim=-1) / wanted.square().sum(dim=-1).clamp(min=1e-6)
    return share.clamp(-1.0, 1.0).masked_fill(goal_distance(env) < twist.cfg.near, 1.0)


def scan(env: EnvState) -> torch.Tensor:
    """Height of the base over the ground around it, at the points of a grid that turns with it [N, R] [m].

    The grid is 1.6 m long and 1 m wide, a point every 0.1 m, first from right to left, then from back to front.
    """
    position, grid = env.scene["robot"].data.root_pos_w.torch, env.once(_grid)
    turned = quat_apply(env.now(_yaw)[:, None].expand(-1, grid.shape[1], -1), grid)
    return position[:, 2:3] - env.scene.terrain.height_at(position[:, None, :2] + turned[..., :2])


def _grid(env: EnvState) -> torch.Tensor:
    x = torch.linspace(-0.8, 0.8, 17, device=env.device)
    y = torch.linspace(-0.5, 0.5, 11, device=env.device)
    return torch.nn.functional.pad(torch.cartesian_prod(x, y), (0, 1)).expand(env.num_envs, -1, -1)


def height_scan(env: EnvState) -> torch.Tensor:
    """`scan` less 0.3 m, which is about the height of a standing Go2, within ±1 m [N, R] [m]."""
    return (env.now(scan) - 0.3).clamp(-1.0, 1.0)


def fallen(env: EnvState, height: float, tilt: float = 1.2) -> torch.Tensor:
    """The base is lower than `height` [m] over the ground around it or leans by more than `tilt` [rad] [N] bool.

    The ground's height is its median in the scan, so that a gap below the robot does not count.
    """
    return env.now(_is_down, height, tilt)


def _is_down(env: EnvState, height: float, tilt: float) -> torch.Tensor:
    return (env.now(scan).median(dim=-1).values < height) | mdp.bad_orientation(env, tilt)


def marks(env: EnvState) -> list[Mark]:
    """A circle on the ground around the goal, green once the robot is there, and a line over the base towards it."""
    command = env.command_manager.get_term("twist")
    height = env.scene.terrain.height_at(command.goal)[:, None]
    center = torch.cat((command.goal, height), dim=-1) - env.scene.env_origins
    near = torch.full((env.num_envs,), command.cfg.near, device=env.device)
    base = env.scene["robot"].data.root_pos_w.torch - env.scene.env_origins
    start = base + torch.tensor((0.0, 0.0, 0.2), device=env.device)
    ahead = torch.nn.functional.normalize(center - start, dim=-1)
    color = "lime" if bool(goal_distance(env)[0] < command.cfg.near) else "orange"
    return [(color, camera.ring(center, near)), (color, torch.stack((start, start + ahead), dim=1))]
