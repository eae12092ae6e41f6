"""`gradus doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import suite
from suite.cli import app
from suite.cli import options as o
from suite.errors import exit_code
from suite.execute import devices
from suite.runs.provenance import packages
from suite.tracking import tracker

VARIABLES = {"assets": "GRADUS_CACHE", "kernels": "WARP_CACHE_PATH"}  # that name other folders
DISK_NEEDED_GB = 2.0  # [GB] what runs, kernels and converted robots take at most in a first session


@app.command("suite.doctor", ("gradus doctor", "gradus doctor --json"))
def main(as_json: o.Json = False) -> int:
    """Say what this machine has, what is missing, and what to do about it.

    Exit code: 0 if the default engine can run here, 1 if not.
    """
    found = examine()
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _show(found)
    return 0 if found["engines"]["physx"]["available"] else 1


def examine() -> dict[str, Any]:
    """All findings as plain data."""
    from tasks.core import caches
    from tasks.core.engines import SYSTEM_LIBRARIES, available, missing_libraries

    missing = missing_libraries()
    return {
        "suite_version": suite.__version__,
        "python": {"version": platform.python_version(), "executable": sys.executable, "ok": _python_ok()},
        "torch": _torch(),
        "packages": packages(),
        "cpu": {"name": devices.cpu_name(), "cores": devices.cores()},
        "engines": {name: {"available": why is None, "reason": why} for name, why in available().items()},
        "system_libraries": {
            name: {"found": name not in missing, "package": package} for name, package in SYSTEM_LIBRARIES.items()
        },
        "disk": {"path": str(Path.cwd()), "free_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1)},
        "caches": {"assets": _folder(caches.wanted("gradus")), "kernels": _folder(caches.wanted("warp"))},
        "wandb": {"logged_in": tracker.login() is not None, "key_from": tracker.login()},
    }


def _python_ok() -> bool:
    return sys.version_info[:2] == (3, 12)


def _torch() -> dict[str, Any]:
    import torch  # here, because it takes seconds

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.get_device_name(k) for k in range(count)]
    return {
        "version": torch.__version__,
        "built_for_cuda": torch.version.cuda,
        "cuda_available": bool(gpus),
        "gpus": gpus,
        "driver_gpus": list(devices.cuda_names()),
        "gpu_faults": list(devices.cuda_faults().values()),
    }


def _folder(path: Path) -> dict[str, Any]:
    from tasks.core import caches

    size = 0
    for folder, _, names in os.walk(path):  # what cannot be read counts nothing
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_size
    return {"path": str(path), "mb": round(size / 1e6, 1), "not_writable": caches.why_not(path)}


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console()

    def line(ok: bool | None, text: str) -> None:
        mark = {True: "[green]ok[/green]     ", False: "[red]missing[/red]", None: "       "}[ok]
        console.print(f"{mark} ", end="")
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    python, torch = found["python"], found["torch"]
    line(python["ok"], f"Python {python['version']} (3.12 is needed)")
    line(None, f"{found['cpu']['name']}, {found['cpu']['cores']} cores")
    if torch["cuda_available"]:
        line(True, f"torch {torch['version']} with CUDA {torch['built_for_cuda']}: {', '.join(torch['gpus'])}")
    elif torch["driver_gpus"] and not torch["gpu_faults"]:
        line(False, f"torch {torch['version']} cannot use {', '.join(torch['driver_gpus'])}; update the NVIDIA driver")
    elif not torch["driver_gpus"]:
        line(None, f"torch {torch['version']}, no CUDA GPU: runs go on the CPU, with the smoke budget")
    for why in torch["gpu_faults"]:
        line(False, why)
    for name, engine in found["engines"].items():
        line(engine["available"], f"engine {name}" + ("" if engine["available"] else f": {engine['reason']}"))
    packages_missing = [lib["package"] for lib in found["system_libraries"].values() if not lib["found"]]
    names = ", ".join(found["system_libraries"])
    line(
        not packages_missing,
        f"system libraries {names}" + (f": apt-get install {' '.join(packages_missing)}" if packages_missing else ""),
    )
    free = found["disk"]["free_gb"]
    line(free >= DISK_NEEDED_GB, f"{free} GB free in {found['disk']['path']} ({DISK_NEEDED_GB:g} GB do to begin with)")
    for name, cache in found["caches"].items():
        text = f"cache of {name}: {cache['path']} ({cache['mb']} MB)"
        if why := cache["not_writable"]:
            text += f" cannot be written ({why}): a temporary folder is used; set {VARIABLES[name]} to one that can"
        line(False if why else None, text)
    wandb = found["wandb"]
    line(None, f"W&B: key in {wandb['key_from']}" if wandb["logged_in"] else "W&B: not logged in (`wandb login`)")


if __name__ == "__main__":
    sys.exit(exit_code("suite.doctor", main))
