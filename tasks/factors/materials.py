"""Friction and restitution of all surfaces of an asset, per env. What an engine does of it is in its `Runtime`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import warp as wp

from tasks.core.env_state import PhysicalEnv

STEP = 0.01
"""Coefficients are rounded to this: PhysX can hold 64,000 different materials."""


def surfaces(env: PhysicalEnv, asset: Any) -> Surfaces:
    """The surfaces of an asset, for `LabEnv.shared`."""
    return env.runtime.surfaces(env, asset)


class Surfaces(ABC):
    """What the surfaces of an asset are like.

    Attributes:
        friction: [N] factor on the coefficients of friction.
        restitution: [N] coefficient of restitution.
    """

    def __init__(self, env: PhysicalEnv) -> None:
        """They are as built."""
        self.friction = torch.ones(env.num_envs, device=env.device)
        self.restitution = torch.zeros(env.num_envs, device=env.device)

    def rounded(self) -> torch.Tensor:
        """Factor on friction, and restitution, as written [2, N]."""
        return (torch.stack((self.friction, self.restitution)) / STEP).round() * STEP

    @abstractmethod
    def write(self, env_ids: torch.Tensor) -> None:
        """Hand the coefficients of rows `env_ids` to the engine."""


class PhysxSurfaces(Surfaces):
    """Those of PhysX, which holds friction (static, dynamic) and restitution of every shape on the host.

    Attributes:
        view: Isaac Lab's view of the asset.
    """

    def __init__(self, env: PhysicalEnv, asset: Any) -> None:
        """Read the surfaces as built."""
        super().__init__(env)
        self.asset, self.view = asset, asset.root_view
        self._default = self.read().clone()
        self._values = self._default.clone()
        bodies = len(self._default) // env.num_envs  # of a collection: its rows are body by body
        self._first = torch.arange(bodies)[:, None] * env.num_envs

    def write(self, env_ids: torch.Tensor) -> None:
        """See `Surfaces.write`."""
        rows = (self._first + env_ids.cpu()).flatten()
        friction, restitution = self.rounded()[:, env_ids].repeat(1, len(self._first)).cpu()
        surfaces = self._default[rows]
        surfaces[..., :2] *= friction[:, None, None]
        bounce = restitution[:, None].expand_as(surfaces[..., 2])
        surfaces[..., 2] = torch.where(surfaces[..., 2] < 0.0, surfaces[..., 2], bounce)  # negative: a compliant one
        self._values[rows] = surfaces
        self.hand_over(wp.from_torch(self._values), wp.from_torch(rows.int()))

    @abstractmethod
    def read(self) -> torch.Tensor:
        """Friction (static, dynamic) and restitution of every shape [bodies * N, shapes, 3], on the host."""

    @abstractmethod
    def hand_over(self, values: Any, indices: Any) -> None:
        """Give the engine `values`, of which the rows `indices` changed; both are Warp arrays."""
