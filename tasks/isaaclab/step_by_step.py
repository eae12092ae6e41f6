"""The physics of one control step in Isaac Lab's own way, and forces on bodies during it, on every engine.

Effects add to `on_bodies` before the physics of a control step. After the physics it is zero again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import warp

from tasks.core.env_state import EnvState
from tasks.isaaclab import private


class StepByStep:
    """Isaac Lab's way: commands are written before, and the joints read after, every physics step.

    Attributes:
        forced: robots whose joints are given forces. Here all commands are handed over in every step anyway.
    """

    def __init__(self, env: EnvState) -> None:
        """Ask the engine how many physics steps one call of it makes."""
        self._env = env
        self.forced: set[Any] = set()
        self._forces: dict[Any, Composed] = {}
        self._at_once = env.cfg.decimation if env.sim.physics_manager.handles_decimation() else 1

    def advance(self) -> None:
        """Make one control step. After it the scene's data are up to date."""
        env = self._env
        for forces in self._forces.values():
            forces.hand_over(0)
        for _ in range(env.cfg.decimation // self._at_once):
            env.action_manager.apply_action()
            env.scene.write_data_to_sim()
            env.sim.step(render=False)
            env.scene.update(env.physics_dt * self._at_once)
        for forces in self._forces.values():
            forces.clear()

    def forces(self, asset: Any, bodies: Sequence[int]) -> torch.Tensor:
        """See `LabEnv.forces`."""
        if asset not in self._forces:
            self._forces[asset] = Composed(asset)
        return self._forces[asset].on_bodies

    def reset(self, env_ids: torch.Tensor) -> None:
        """Clear what the scene's parts remember of rows `env_ids` [k] int32, such as forces and contact times."""
        self._env.scene.reset(env_ids)


class Composed:
    """Forces that Isaac Lab's wrench composer hands over before every physics step.

    On OVPhysX, Isaac Lab lets them act at the origins of links. So a body with another centre of mass is turned, too.

    Attributes:
        on_bodies: forces [N, bodies, 3] [N].
    """

    def __init__(self, asset: Any) -> None:
        """Set all forces to zero."""
        self._composer = asset.permanent_wrench_composer
        self.on_bodies = torch.zeros(asset.num_instances, asset.num_bodies, 3, device=asset.device)
        self._set()
        self._in_place = private.WRENCHES.usable()
        if self._in_place:  # adding to the composer's own buffer takes a tenth of the time of its setter
            self.on_bodies = warp.to_torch(self._composer.global_force_at_com_w)

    def include(self, bodies: Sequence[int]) -> None:
        """Do nothing: all bodies may be pushed."""

    def hand_over(self, step: int) -> None:
        """Let the composer know before physics step `step` that forces have changed."""
        if self._in_place:
            private.note_changed(self._composer)
        else:
            self._set()

    def _set(self) -> None:
        self._composer.set_forces_and_torques_index(forces=self.on_bodies, is_global=True)

    def clear(self) -> None:
        """Set all forces to zero after the physics of a control step."""
        self.on_bodies.zero_()
