"""Rows whose simulation has diverged.

MuJoCo-Warp has given NaN in one row of thousands, after millions of steps, in tasks that handle objects. That must not
end a training: the row's episode ends, and a reset of the row mends it. A speed beyond any sense counts too, before
statistics of observations take it in. PhysX has not been seen to diverge.
"""

from __future__ import annotations

from typing import Any

import torch

LIMIT = 1000.0  # [rad/s], [m/s]


class Watch:
    """Finds them by the speeds of joints, floating bases and objects.

    Attributes:
        rows: those that diverged in the last step [N] bool.
    """

    def __init__(self, scene: Any, num_envs: int, device: torch.device) -> None:
        """`scene` is Isaac Lab's."""
        robots = scene.articulations.values()
        self._joints = [robot.data for robot in robots]
        self._bases = [robot.data for robot in robots if not robot.is_fixed_base]
        self._objects = [objects.data for objects in scene.rigid_object_collections.values()]
        self.rows = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self._count = torch.zeros((), dtype=torch.long, device=device)

    def look(self) -> torch.Tensor:
        """Call once after the physics of a control step; returns `rows`."""
        speeds = [data.joint_vel.torch for data in self._joints]
        speeds += [data.root_vel_w.torch for data in self._bases]
        speeds += [data.body_vel_w.torch.flatten(1) for data in self._objects]
        fastest = torch.cat(speeds, dim=-1).abs().amax(dim=-1)
        torch.logical_not(fastest < LIMIT, out=self.rows)  # NaN is not less either; in place, since graphs read it
        self._count += self.rows.sum()
        return self.rows

    def count(self) -> int:
        """How many rows so far. Waits for the device."""
        return int(self._count)
