"""Terms and builders that several tasks share. Isaac Lab's own terms come first; these fill the gaps."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import AssetBaseCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import CommandTerm, CommandTermCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.utils import configclass
from isaaclab_newton.sim.schemas import NewtonArticulationCfg
from isaaclab_physx.sim.schemas import PhysxArticulationCfg

from tasks.core.env_state import EnvState
from tasks.cuda import rotations
from tasks.cuda.record import starts

NO_SPEED_LIMIT = 100.0
"""Joint speed [rad/s] at which PhysX stops a joint. MuJoCo stops none, so it is set out of reach, and speeds over a
drive's rating are counted as crossings of a safety limit instead."""


def scene(env_spacing: float, **entities: Any) -> InteractiveSceneCfg:
    """A scene with a light and the given entities; `env_spacing` [m] is the distance between two envs' origins."""
    cfg = InteractiveSceneCfg(num_envs=1, env_spacing=env_spacing)
    cfg.light = AssetBaseCfg(prim_path="/World/light", spawn=sim_utils.DomeLightCfg(intensity=2500.0))
    for name, entity in entities.items():
        setattr(cfg, name, entity)
    return cfg


def no_self_collisions(position_iterations: int = 4) -> list[Any]:
    """Articulation properties for every engine: links of one robot pass through each other."""
    return [
        PhysxArticulationCfg(
            enabled_self_collisions=False,
            solver_position_iteration_count=position_iterations,
            solver_velocity_iteration_count=1,
        ),
        NewtonArticulationCfg(self_collision_enabled=False),
    ]


def ground(height: float = 0.0) -> AssetBaseCfg:
    """A flat floor at z = `height` [m]: a cuboid, since Isaac Lab's ground plane is fetched from a server.

    Large enough for 16,384 envs 1 m apart and for 100 m to each side of them.
    """
    return AssetBaseCfg(
        prim_path="/World/ground",
        spawn=sim_utils.CuboidCfg(
            size=(400.0, 400.0, 1.0),
            collision_props=sim_utils.UsdPhysicsCollisionCfg(),
            visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=(0.42, 0.46, 0.5)),
        ),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.0, 0.0, height - 0.5)),
    )


@configclass
class _Terms:
    """Terms of one manager, by name."""


def env_cfg(scene: InteractiveSceneCfg, **managers: dict[str, Any]) -> ManagerBasedRLEnvCfg:
    """Isaac Lab's env config from its scene and the terms of each manager, in their order.

    Timing, size and engine are filled in by `LabEnv`.
    """
    cfg = ManagerBasedRLEnvCfg()
    cfg.scene = scene
    for manager, by_name in managers.items():
        terms = _Terms()  # not a dict: the action manager writes attributes to its config
        for name, term in by_name.items():
            setattr(terms, name, term)
        setattr(cfg, manager, terms)
    return cfg


def stand(env: EnvState, env_ids: torch.Tensor, yaw: float = 0.0) -> None:
    """Put robots that are upright by default where they start, at rest, facing up to `yaw` [rad] either way."""
    env.runtime.put_root(env, env_ids, env.once(rest)[: len(env_ids)], starts(env, env_ids, _stances, yaw))


def _stances(env: EnvState, yaw: float) -> torch.Tensor:
    """Poses of the robot [N, 7]."""
    start = env.once(_stance)
    if yaw == 0.0:
        return start
    return torch.cat((start[:, :3], rotations.about_vertical(yaw * env.draws.within("yaw"))), dim=-1)


def _stance(env: EnvState) -> torch.Tensor:
    start = env.scene["robot"].data.default_root_pose.torch.clone()
    start[:, :3] += env.scene.env_origins
    return start


def rest(env: EnvState) -> torch.Tensor:
    """Velocities [N, 6] of robots at rest, for `EnvState.once`."""
    return torch.zeros(env.num_envs, 6, device=env.device)


def bend(env: EnvState, env_ids: torch.Tensor, joints: tuple[str, ...], offset: float) -> None:
    """Put `joints` at rest where they are by default, up to `offset` [rad] either way, within their limits."""
    ids, _, _, rest = env.once(joint_start, joints)
    env.runtime.put_joints(env, env_ids, ids, starts(env, env_ids, _bent, joints, offset), rest[: len(env_ids)])


def _bent(env: EnvState, joints: tuple[str, ...], offset: float) -> torch.Tensor:
    """Positions of the joints [N, J]."""
    _, default, (low, high), _ = env.once(joint_start, joints)
    return (default + offset * env.draws.within("joints", len(joints))).clamp(low, high)


def joint_start(env: EnvState, joints: tuple[str, ...]) -> tuple[torch.Tensor, ...]:
    """Ids [J] and default positions [J] of `joints`, their limits (lowest [J], highest [J]), and zeros [N, J]."""
    data = env.scene["robot"].data
    ids = torch.tensor(env.scene["robot"].find_joints(list(joints), preserve_order=True)[0], device=env.device)
    limits = data.soft_joint_pos_limits.torch[0, ids].unbind(dim=-1)
    return ids, data.default_joint_pos.torch[0, ids], limits, torch.zeros(env.num_envs, len(ids), device=env.device)


class EpisodeCommand(CommandTerm):
    """A command that is drawn at the start of an episode, and later on only by itself; no timer, no logs."""

    def reset(self, env_ids: torch.Tensor | None = None) -> dict[str, float]:
        """Draw the command of rows `env_ids` [k]."""
        self._resample(env_ids)
        return {}

    def _resample(self, env_ids: torch.Tensor) -> None:
        self._resample_command(env_ids)

    def note(self) -> None:
        """Once a control step, before the resets; on CUDA within a graph, see `tasks.cuda.record`."""

    def compute(self, dt: float) -> None:
        """Once a control step, after the resets."""
        self._update_command()

    def _update_metrics(self) -> None:
        """Isaac Lab's, for its own `compute`."""


@configclass
class EpisodeCommandCfg(CommandTermCfg):
    """See `EpisodeCommand`."""

    resampling_time_range: tuple[float, float] = (1e6, 1e6)  # [s]


class GradedEffortAction(mdp.JointEffortAction):
    """Joint efforts whose full scale is a grade parameter, so that it may differ from env to env."""

    cfg: GradedEffortActionCfg

    def process_actions(self, actions: torch.Tensor) -> None:
        """Scale actions [N, joints] in [-1, 1] to [N] or [N·m]."""
        super().process_actions(actions)
        self._processed_actions = self._processed_actions * self._env.param(self.cfg.limit)[:, None]


@configclass
class GradedEffortActionCfg(mdp.JointEffortActionCfg):
    """See `GradedEffortAction`; `limit` names the grade parameter."""

    class_type: type = GradedEffortAction
    limit: str = MISSING


def joint_velocity_over(env: EnvState, limit: float, joints: str = ".*") -> torch.Tensor:
    """Some joint matching `joints` is faster than `limit` [rad/s] ([m/s] for prismatic ones): [N] bool."""
    velocity = env.scene["robot"].data.joint_vel.torch[:, env.joint_ids(joints)]
    return (velocity.abs() > limit).any(dim=-1)


def joint_position_outside(env: EnvState, margin: float, joints: str = ".*") -> torch.Tensor:
    """Some joint matching `joints` is nearer than `margin` [rad] to a position limit, or beyond it: [N] bool."""
    low, high = env.once(_joint_bounds, margin, joints)
    position = env.scene["robot"].data.joint_pos.torch[:, env.joint_ids(joints)]
    return ((position < low) | (position > high)).any(dim=-1)


def _joint_bounds(env: EnvState, margin: float, joints: str) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = env.scene["robot"].data.joint_pos_limits.torch[:, env.joint_ids(joints)].unbind(dim=-1)
    return low + margin, high - margin


def joint_torque_over(env: EnvState, share: float, joints: str = ".*") -> torch.Tensor:
    """The drive of some joint matching `joints` is asked for more than `share` of its torque limit: [N] bool."""
    robot, ids = env.scene["robot"], env.joint_ids(joints)
    limit = share * robot.data.joint_effort_limits.torch[:, ids]
    return (robot.actuators.computed_effort.torch[:, ids].abs() > limit).any(dim=-1)
