"""What this machine computes on, found without importing torch."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psutil

from suite.errors import UserError

WORKER_BYTES = 2_500_000_000  # main memory that a run with a simulator needs
CGROUP = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")
_ARCH = re.compile(r"(sm|compute)_([0-9]+)")  # sm_90a and its like are for that one GPU, and come beside the plain one
ASK_S = 120.0  # [s] in which torch has to say what it can use
_ASK = """
import json, torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
capabilities = [torch.cuda.get_device_capability(k) for k in range(count)]
print(json.dumps([torch.__version__, torch.cuda.get_arch_list(), capabilities]))
"""


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


@cache
def cuda_faults() -> dict[int, str]:
    """Why the installed torch cannot compute on a CUDA device, by its index. Asked in a process: it takes seconds."""
    names = cuda_names()
    if not names:
        return {}
    try:
        said = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=ASK_S, check=True)
        torch_version, archs, capabilities = json.loads(said.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return {}  # nothing is known; a run will say what is wrong
    faults = {}
    for k, name in enumerate(names):
        if k >= len(capabilities):
            faults[k] = (
                f"torch {torch_version} cannot use {name}; update the NVIDIA driver, if it still serves this GPU"
            )
        elif why := no_kernels(name, tuple(capabilities[k]), archs, torch_version):
            faults[k] = why
    return faults


def no_kernels(name: str, capability: tuple[int, int], archs: Sequence[str], torch_version: str) -> str:
    """Why a GPU of that compute capability is of no use to a torch that was compiled for `archs`, or ''.

    Machine code (`sm_86`) runs on what has the same major number and no lower minor one; from PTX (`compute_86`) any
    later GPU's is compiled.
    """
    found = [_ARCH.fullmatch(arch) for arch in archs]
    machine = [divmod(int(m[2]), 10) for m in found if m and m[1] == "sm"]
    source = [divmod(int(m[2]), 10) for m in found if m and m[1] == "compute"]
    if any(major == capability[0] and minor <= capability[1] for major, minor in machine):
        return ""
    if any(virtual <= capability for virtual in source):
        return ""
    which = f"torch {torch_version} has no kernels for {name} (compute capability {capability[0]}.{capability[1]})"
    return f"{which}, only for {', '.join(archs)}"


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that hold this process, innermost first: version 2's, and 1's of a controller.

    A job's group lies deep where it is no container; of a container's own name for it the folder may not be there.
    """
    try:
        lines = GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    places = {CGROUP: ""}
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if not controllers:
            places[CGROUP] = place
            places[CGROUP / "unified"] = place  # where both versions are mounted
        elif controller in controllers.split(","):
            places[CGROUP / controller] = place
    for root, place in places.items():
        parts = [part for part in place.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield root.joinpath(*parts[:depth])


def _numbers(*files: Path) -> list[int]:
    """Raises `OSError` or `ValueError` where one is not there, or sets no limit ("max")."""
    return [int(text) for file in files for text in file.read_text(encoding="utf-8").split()]


def cores() -> int:
    """CPU cores that this process may use: its affinity, and the quotas of its control groups."""
    usable = len(os.sched_getaffinity(0))
    for group in _groups("cpu"):
        for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
            with suppress(OSError, ValueError):
                quota, period = _numbers(*(group / name for name in names))
                if quota > 0 and period > 0:  # version 1 says -1 where there is none
                    usable = min(usable, math.ceil(quota / period))
    return max(1, usable)


def cpu_name() -> str:
    """Model of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def cpu_features() -> str:
    """Hash of the processor's instruction sets. Libraries choose how they add by them, and so the last bits."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:16]


def memory() -> int:
    """Main memory that is free [bytes]: the machine's, and what its control groups may still take."""
    free = psutil.virtual_memory().available
    for group in _groups("memory"):
        for limit, used, prefix in (
            ("memory.max", "memory.current", ""),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
        ):
            with suppress(OSError, ValueError):
                most, taken = _numbers(group / limit, group / used)
                free = min(free, most - taken + _cached(group, prefix))
    return max(0, free)


def _cached(group: Path, prefix: str) -> int:
    """Files that are kept in memory [bytes]: given up when somebody needs it."""
    try:
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    counts = dict(line.split() for line in lines)
    return sum(int(counts.get(f"{prefix}{kind}", 0)) for kind in ("inactive_file", "active_file"))


def usable_gpus() -> list[int]:
    """Indices of the CUDA devices that the installed torch can compute on."""
    faults = cuda_faults()
    return [k for k in range(len(cuda_names())) if k not in faults]


def slots(device: str, jobs_per_gpu: int = 1, workers: int | None = None) -> list[str]:
    """Where runs go that are under way at the same time: `jobs_per_gpu` a GPU, or `workers` on the CPU.

    `device` is `auto` (every GPU that torch can use, else the CPU), `cpu` or `cuda:K`. Without `workers` there is one a
    core, as far as the memory goes: a run keeps little more than one core busy (docs/clusters.md has the measurement).

    Raises:
        UserError: for another name, or a GPU that is not there or that torch cannot use.
    """
    gpus = len(cuda_names())
    if device == "auto" and gpus:
        if usable := usable_gpus():
            return [f"cuda:{k}" for k in usable] * jobs_per_gpu
        print(f"no GPU can be used, so runs go on the CPU: {cuda_faults()[0]}", file=sys.stderr)
    if device in ("auto", "cpu"):
        return ["cpu"] * (workers or max(1, min(cores(), memory() // WORKER_BYTES)))
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index.isdecimal() or device == "cuda"):
        raise UserError(f"unknown device {device!r}; expected auto, cpu or cuda:K with K from 0")
    index = int(index or 0)
    if index >= gpus:
        found = f"the CUDA devices are cuda:0 to cuda:{gpus - 1}" if gpus else "no CUDA device was found"
        raise UserError(f"device {device} is missing: {found}; use --device cpu, or see python -m suite.doctor")
    if why := cuda_faults().get(index):
        raise UserError(f"device {device} cannot be used: {why}; use --device cpu")
    return [f"cuda:{index}"] * jobs_per_gpu


def claim(device: str) -> str:
    """Make `device` the only GPU that this process sees, and return its name then. Call before importing torch.

    Simulators take the first GPU for some of their work whatever they are told, so on the CPU there is none.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        return device
    index = int(device.partition(":")[2])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index] if visible else str(index)
    return "cuda:0"
