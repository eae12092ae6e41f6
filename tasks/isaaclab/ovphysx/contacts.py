"""Contact sensors on OVPhysX: what Isaac Lab's do, with kernel launches recorded once instead of put together anew.

The update's kernel has 29 arguments, and putting a launch together takes the host longer than all else in it.
"""

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from isaaclab.sensors.kernels import reset_envs_kernel, update_outdated_envs_kernel, update_timestamp_kernel
from isaaclab_ov.sensors.contact_sensor import kernels

from tasks.isaaclab.ovphysx.dlpack import described

_UPDATED = "net_normal_forces_w net_normal_forces_w_history normal_force_matrix_w normal_force_matrix_w_history"
_UPDATED += " current_air_time current_contact_time last_air_time last_contact_time net_forces_w net_forces_w_history"
_UPDATED += " force_matrix_w force_matrix_w_history net_friction_forces_w net_friction_forces_w_history"
_UPDATED += " friction_force_matrix_w friction_force_matrix_w_history"
_CHECKED = "net_normal_forces_w net_normal_forces_w_history normal_force_matrix_w normal_force_matrix_w_history"
_CLEARED = "current_air_time last_air_time current_contact_time last_contact_time friction_force_matrix_w"
_CLEARED += " friction_force_matrix_w_history contact_pos_w net_forces_w net_forces_w_history force_matrix_w"
_CLEARED += " force_matrix_w_history net_friction_forces_w net_friction_forces_w_history"


class Contacts:
    """A contact sensor of Isaac Lab, without filters, contact points and poses.

    Attributes:
        sensor: Isaac Lab's; its data are up to date after `update`.
    """

    def __init__(self, sensor: Any, friction: bool, dt: float) -> None:
        """Record the launches of an update every `dt` [s]; without `friction`, `net_forces_w` are normal forces."""
        if sensor.cfg.filter_prim_paths_expr or sensor.cfg.track_contact_points or sensor.cfg.track_pose:
            raise ValueError(f"contact sensor {sensor.cfg.prim_path}: filters, points and poses are not possible here")
        self.sensor = sensor
        normal, rubbing = sensor._net_normal_forces_flat_buf, sensor._net_friction_forces_flat_buf
        binding = sensor._contact_binding
        self._reads = [(binding.read_net_normal_forces, described(wp.to_torch(normal)))]
        if friction:
            self._reads.append((binding.read_net_friction_forces, described(wp.to_torch(rubbing))))
        self._ended = wp.to_torch(sensor._reset_mask)
        envs, parts, history = sensor._num_envs, (sensor._num_envs, sensor._num_sensors), sensor._history_length
        due, clock = sensor._is_outdated, (sensor._timestamp, sensor._timestamp_last_update)
        flat = (normal.view(wp.vec3f), rubbing.view(wp.vec3f), None, None)
        force = (due, envs, 0, history, sensor.cfg.force_threshold, *clock)
        self._update = (
            self._record(update_timestamp_kernel, envs, due, *clock, dt, sensor.cfg.update_period),
            self._record(kernels.update_net_forces_ovphysx_kernel, parts, *flat, *force, *self._data(_UPDATED)),
            self._record(update_outdated_envs_kernel, envs, due, *clock),
        )
        mask = sensor._reset_mask
        cleared = (history, 0, mask, *self._data(_CHECKED), *self._data(_CLEARED))
        self._reset = (
            self._record(reset_envs_kernel, envs, mask, due, *clock),
            self._record(kernels.reset_contact_sensor_kernel, parts, *cleared),
        )
        self._alive = flat  # a recorded launch does not keep its arguments

    def _data(self, names: str) -> list[Any]:
        return [getattr(self.sensor._data, f"_{name}") for name in names.split()]

    def _record(self, kernel: Any, dim: Any, *arguments: Any) -> Any:
        return wp.launch(kernel, dim, list(arguments), device=self.sensor._device, record_cmd=True)

    def read(self) -> None:
        """Once between two physics steps: PhysX clears a force in the very step in which the contact is lost."""
        for read, forces in self._reads:
            read(forces)

    def update(self) -> None:
        """Once after the physics of a control step."""
        self.read()
        for launch in self._update:
            launch.launch()
        self.sensor._data_dirty = False

    def reset(self, rows: torch.Tensor) -> None:
        """Start at zero in `rows` [k] long."""
        self._ended.zero_()
        self._ended.index_fill_(0, rows, True)
        for launch in self._reset:
            launch.launch()
        self.sensor._data_dirty = True
