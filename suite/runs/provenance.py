"""Where a result comes from: packages, code, hardware, assets, command."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import suite
from suite.execute import devices
from suite.plan import parts
from suite.runs.rundir import now
from tasks.spec import TaskSpec

PACKAGES = (
    *("isaaclab", "isaacsim-kernel", "ovphysx", "ovstage", "newton", "warp-lang", "mujoco", "mujoco-warp"),
    *("usd-exchange", "usd-core", "isaacsim-asset-isolated", "example-robot-data"),
    *("torch", "tianshou", "gymnasium", "numpy", "omegaconf", "safetensors", "pyarrow", "wandb"),
)
ENVIRONMENT = (
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED"),
    *("NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)
"""Variables that can change a number; nothing else of the environment is recorded."""


def collect(spec: TaskSpec, command: str, engine: str, algo: str, curriculum: str) -> dict[str, Any]:
    """What `provenance.json` holds when a run starts; `ended` is filled in at its end.

    `parts` is there where a part of the run comes from another package than Gradus.
    """
    from tasks.isaaclab.assets import hashes

    outside = parts.outside(spec, engine, algo, curriculum)
    return {
        "suite_version": suite.__version__,
        "command": command,
        "started": now(),
        "ended": None,
        **machine(),
        "assets": hashes(spec.assets),
        **({"parts": outside} if outside else {}),
    }


def machine() -> dict[str, Any]:
    """The part of a provenance that is the same for everything that runs here."""
    return {
        "packages": packages(),
        "git": git(),
        "python": platform.python_version(),
        "os": _os_name(),
        "kernel": platform.release(),
        "cpu": devices.cpu_name(),
        "cpu_features": devices.cpu_features(),
        "cores": devices.cores(),
        "gpus": list(devices.cuda_names()),
        "nvidia_driver": _driver(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def packages() -> dict[str, str]:
    """Version of every installed package that can change a number."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git() -> dict[str, Any] | None:
    """Commit of this checkout and whether files differ from it; None where the code is not in a git checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
        changed = _output("git", "-C", str(root), "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changed)}


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return sys.platform


def _driver() -> str | None:
    try:
        return Path("/sys/module/nvidia/version").read_text(encoding="utf-8").strip()
    except OSError:
        return None
