"""Contact sensors on OVPhysX with recorded kernel launches.

Isaac Lab puts each launch together anew. The kernel of the update has 27 arguments, and that takes the host longer than
the rest of the update. The kernels and their results are Isaac Lab's.
"""

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from isaaclab.sensors.kernels import reset_envs_kernel, update_outdated_envs_kernel, update_timestamp_kernel
from isaaclab_ov.sensors.contact_sensor import kernels

from tasks.core.fast import arguments
from tasks.isaaclab.ovphysx.dlpack import described
from tasks.isaaclab.ovphysx.names import CONTACT_BUFFERS


class Contacts:
    """A contact sensor of Isaac Lab without filters, contact points and poses.

    Attributes:
        sensor: Isaac Lab's sensor. Its data are up to date after `update`.
    """

    def __init__(self, sensor: Any, friction: bool, dt: float) -> None:
        """Record the launches of an update every `dt` [s]. Without `friction`, `net_forces_w` are normal forces.

        Raises:
            ValueError: the sensor has filters, contact points or poses.
        """
        if sensor.cfg.filter_prim_paths_expr or sensor.cfg.track_contact_points or sensor.cfg.track_pose:
            raise ValueError(f"contact sensor {sensor.cfg.prim_path}: filters, points and poses are not possible here")
        self.sensor = sensor
        normal, rubbing = sensor._net_normal_forces_flat_buf, sensor._net_friction_forces_flat_buf
        binding = sensor.contact_view
        self._reads = [(binding.read_net_normal_forces, described(wp.to_torch(normal)))]
        if friction:
            self._reads.append((binding.read_net_friction_forces, described(wp.to_torch(rubbing))))
        self._ended = wp.to_torch(sensor._reset_mask)
        self._values = _values(sensor, dt)  # kept, because a recorded launch does not keep its arguments
        envs, parts = sensor._num_envs, (sensor._num_envs, sensor.num_sensors)
        self._update = (
            self._record(update_timestamp_kernel, envs),
            self._record(kernels.update_net_forces_ovphysx_kernel, parts),
            self._record(update_outdated_envs_kernel, envs),
        )
        self._reset = (
            self._record(reset_envs_kernel, envs),
            self._record(kernels.reset_contact_sensor_kernel, parts),
        )

    def _record(self, kernel: Any, dim: Any) -> Any:
        """A launch whose arguments are found by their names, whatever their order."""
        values = [self._values[name] for name in arguments(kernel)]
        return wp.launch(kernel, dim, values, device=self.sensor._device, record_cmd=True)

    def read(self) -> None:
        """Read the forces. Call it between two physics steps: PhysX reports the loss of a contact in one step only."""
        for read, forces in self._reads:
            read(forces)

    def update(self) -> None:
        """Bring the sensor's data up to date. Call it once after the physics of a control step."""
        self.read()
        for launch in self._update:
            launch.launch()
        self.sensor._data_dirty = False

    def reset(self, rows: torch.Tensor) -> None:
        """Set forces and times to zero in `rows` [k] long."""
        self._ended.zero_()
        self._ended.index_fill_(0, rows, True)
        for launch in self._reset:
            launch.launch()
        self.sensor._data_dirty = True


def _values(sensor: Any, dt: float) -> dict[str, Any]:
    """What the kernels' arguments are, by name. Names that two kernels share mean the same in both."""
    return {
        "num_envs": sensor._num_envs,
        "num_filter_shapes": 0,
        "num_filter_objects": 0,
        "history_length": sensor._history_length,
        "contact_force_threshold": sensor.cfg.force_threshold,
        "dt": dt,
        "update_period": sensor.cfg.update_period,
        "is_outdated": sensor._is_outdated,
        "mask": sensor._is_outdated,
        "reset_mask": sensor._reset_mask,
        "env_mask": sensor._reset_mask,
        "timestamp": sensor._timestamp,
        "timestamp_last_update": sensor._timestamp_last_update,
        "normal_forces_flat": sensor._net_normal_forces_flat_buf.view(wp.vec3f),
        "friction_forces_flat": sensor._net_friction_forces_flat_buf.view(wp.vec3f),
        "normal_forces_matrix_flat": None,
        "friction_forces_matrix_flat": None,
        **{name: getattr(sensor._data, f"_{name}") for name in CONTACT_BUFFERS},
    }
