"""What this machine computes on, found without importing torch."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psutil

from suite.errors import UserError

WORKER_BYTES = 2_500_000_000  # main memory that a run with a simulator needs
CGROUP = Path("/sys/fs/cgroup")  # version 2, of the container


@cache
def cuda_names() -> tuple[str, ...]:
    """Names of the CUDA devices that the driver shows (`CUDA_VISIBLE_DEVICES` applies); creates no context."""
    if "+cpu" in version("torch"):
        return ()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    names = []
    for index in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetName(name, len(name), device)
        names.append(name.value.decode())
    return tuple(names)


def cores() -> int:
    """CPU cores that this process may use: its affinity, and the quota of its container."""
    usable = len(os.sched_getaffinity(0))
    try:
        quota, period = (CGROUP / "cpu.max").read_text(encoding="utf-8").split()
        usable = min(usable, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no container, or one without a quota ("max")
        pass
    return max(1, usable)


def cpu_name() -> str:
    """Model of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def cpu_features() -> str:
    """Hash of the processor's instruction sets: libraries choose by them how they add, and so which bits come out."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:16]


def memory() -> int:
    """Main memory that is free [bytes]: the machine's, and what its container may still take."""
    free = psutil.virtual_memory().available
    try:
        limit, used = (int((CGROUP / name).read_text(encoding="utf-8")) for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines())
        cached = int(counts["inactive_file"]) + int(counts["active_file"])  # given up when somebody needs it
        free = min(free, limit - used + cached)
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return max(0, free)


def slots(device: str, jobs_per_gpu: int = 1, workers: int | None = None) -> list[str]:
    """Where runs go that are under way at the same time: `jobs_per_gpu` a GPU, or `workers` on the CPU.

    `device` is `auto` (every GPU, else the CPU), `cpu` or `cuda:K`. Without `workers` there is one a core, as far as
    the memory goes: a run keeps little more than one core busy (docs/clusters.md has the measurement).

    Raises:
        UserError: for another name, or a GPU that is not there.
    """
    gpus = len(cuda_names())
    if device == "auto" and gpus:
        return [f"cuda:{k}" for k in range(gpus)] * jobs_per_gpu
    if device in ("auto", "cpu"):
        return ["cpu"] * (workers or max(1, min(cores(), memory() // WORKER_BYTES)))
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index.isdecimal() or device == "cuda"):
        raise UserError(f"unknown device {device!r}; expected auto, cpu or cuda:K with K from 0")
    index = int(index or 0)
    if index >= gpus:
        found = f"the CUDA devices are cuda:0 to cuda:{gpus - 1}" if gpus else "no CUDA device was found"
        raise UserError(f"device {device} is missing: {found}; use --device cpu, or see python -m suite.doctor")
    return [f"cuda:{index}"] * jobs_per_gpu


def claim(device: str) -> str:
    """Make `device` the only GPU that this process sees, and return its name then. Call before importing torch.

    Simulators take the first GPU for some of their work whatever they are told.
    """
    if device == "cpu":
        return device
    index = int(device.partition(":")[2])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index] if visible else str(index)
    return "cuda:0"
