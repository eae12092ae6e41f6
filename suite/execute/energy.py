"""The energy that a GPU uses, by its own counter."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import torch


class Meter:
    """Adds up what a GPU uses between laps, whoever uses it: runs that share a GPU count each other's."""

    def __init__(self, device: torch.device, before: float) -> None:
        """`before` [J] is what earlier tries used; with NaN the total stays NaN."""
        self._counter = _counter(device)
        self.joules = before
        self.skip()

    def lap(self) -> float | None:
        """Total [J] up to now; None on a CPU, and where it was not counted from the beginning."""
        self.joules += self._counter() - self._last
        self.skip()
        return None if math.isnan(self.joules) else self.joules

    def skip(self) -> None:
        """Leave out what was used since the last lap."""
        self._last = self._counter()


def _counter(device: torch.device) -> Callable[[], float]:
    """What gives the energy [J] that a GPU has used since its driver was loaded (NVML; GPUs from Volta on), or NaN."""

    def unknown() -> float:
        return math.nan

    if device.type != "cuda":
        return unknown
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return unknown
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
        return unknown

    def joules() -> float:
        failed = nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
        return math.nan if failed else millijoules.value / 1000

    return joules
