"""Terms and builders that several tasks share. Isaac Lab's own terms come first; these fill the gaps."""

from __future__ import annotations

from dataclasses import MISSING
from typing import TYPE_CHECKING, Any

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import AssetBaseCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import ObservationGroupCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.utils import configclass
from isaaclab_newton.sim.schemas import NewtonArticulationCfg
from isaaclab_physx.sim.schemas import PhysxArticulationCfg

if TYPE_CHECKING:
    from tasks.lab_env import GradedEnv


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


def observation_group(**terms: Any) -> ObservationGroupCfg:
    """One vector from the terms, in their order, without noise."""
    group = ObservationGroupCfg(concatenate_terms=True, enable_corruption=False)
    for name, term in terms.items():
        setattr(group, name, term)
    return group


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


def joint_velocity_over(env: GradedEnv, limit: float, joints: str = ".*") -> torch.Tensor:
    """Some joint matching `joints` is faster than `limit` [rad/s] ([m/s] for prismatic ones): [N] bool."""
    velocity = env.scene["robot"].data.joint_vel.torch[:, env.joint_ids(joints)]
    return (velocity.abs() > limit).any(dim=-1)


def joint_position_outside(env: GradedEnv, margin: float, joints: str = ".*") -> torch.Tensor:
    """Some joint matching `joints` is nearer than `margin` [rad] to a position limit, or beyond it: [N] bool."""
    data, ids = env.scene["robot"].data, env.joint_ids(joints)
    low, high = data.joint_pos_limits.torch[:, ids].unbind(dim=-1)
    position = data.joint_pos.torch[:, ids]
    return ((position < low + margin) | (position > high - margin)).any(dim=-1)


def joint_torque_over(env: GradedEnv, share: float, joints: str = ".*") -> torch.Tensor:
    """The drive of some joint matching `joints` is asked for more than `share` of its torque limit: [N] bool."""
    robot, ids = env.scene["robot"], env.joint_ids(joints)
    limit = share * robot.data.joint_effort_limits.torch[:, ids]
    return (robot.actuators.computed_effort.torch[:, ids].abs() > limit).any(dim=-1)
