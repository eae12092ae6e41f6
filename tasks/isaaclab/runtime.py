"""`Runtime`: how an engine of Isaac Lab's is used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from tasks.core.engines import EngineError
from tasks.core.env_state import EnvState, PhysicalEnv
from tasks.factors.materials import Surfaces
from tasks.isaaclab.divergence import Watch
from tasks.isaaclab.overflow import Unknown
from tasks.isaaclab.step_by_step import StepByStep


class Runtime(ABC):
    """What carries out a `tasks.core.engines.Engine`: the public way, unless an engine overrides it.

    An engine of your own needs `physics_cfg`, and `surfaces` for the factors on friction and restitution.
    """

    @abstractmethod
    def physics_cfg(self, newton: dict[str, Any]) -> Any:
        """Isaac Lab's physics config.

        `newton` holds the task's MuJoCo-Warp solver settings and, where a robot walks on a mesh, `max_triangle_pairs`.
        """

    def prepare(self) -> None:  # noqa: B027 (most engines need nothing)
        """Called before Isaac Lab launches the simulation."""

    def set_scenery(self, entity: Any) -> None:  # noqa: B027 (most engines need nothing)
        """Keep an `AssetBaseCfg` that is there for pictures out of the physics, as far as that is needed."""

    def stepper(self, env: EnvState) -> Any:
        """What does the physics of a control step."""
        return StepByStep(env)

    def put_root(
        self, env: EnvState, env_ids: torch.Tensor, velocity: torch.Tensor, pose: torch.Tensor | None = None
    ) -> None:
        """Set the state of the robot's root in rows `env_ids` [k] int32.

        Args:
            env: the env.
            env_ids: the rows.
            velocity: linear [m/s] and angular [rad/s], of the centre of mass, in the world's frame [k, 6].
            pose: of the link, in the world's frame [k, 7] (position [m], quaternion x, y, z, w). None: as it is.
        """
        robot = env.scene["robot"]
        if pose is not None:
            robot.write_root_pose_to_sim_index(root_pose=pose, env_ids=env_ids)
        robot.write_root_velocity_to_sim_index(root_velocity=velocity, env_ids=env_ids)

    def put_joints(
        self, env: EnvState, env_ids: torch.Tensor, joints: torch.Tensor, position: torch.Tensor, rest: torch.Tensor
    ) -> None:
        """Set `joints` [J] of the robot to `position` [k, J] [rad] ([m]) in rows `env_ids` [k] int32, at rest.

        `rest` are zeros [k, J], which the caller keeps.
        """
        robot = env.scene["robot"]
        robot.write_joint_position_to_sim_index(position=position, joint_ids=joints, env_ids=env_ids)
        robot.write_joint_velocity_to_sim_index(velocity=rest, joint_ids=joints, env_ids=env_ids)

    def overflow(self, manager: Any) -> Any:
        """What counts the contacts that the engine has no room for; `manager` is Isaac Lab's handle of the engine."""
        return Unknown()

    def divergence(self, scene: Any, num_envs: int, device: torch.device) -> Watch | None:
        """What finds rows whose simulation has diverged, on engines that do."""
        return None

    def changes(self, num_envs: int, device: str) -> Any:
        """What brings the changes of a reset into the engine's model, where an engine needs that."""
        return None

    def surfaces(self, env: PhysicalEnv, asset: Any) -> Surfaces:
        """Friction and restitution of an asset, to be set per env."""
        raise EngineError(f"{type(self).__name__} cannot set friction and restitution: its engine has no `surfaces`")
