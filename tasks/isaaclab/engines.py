"""What steps the physics: the engines by name, which of them are installed, and how one is launched."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.spec import TaskSpec

ENGINES = ("isaacsim_physx", "ovphysx", "physx", "newton_mjwarp")
"""Names under which `--physics` takes an engine; `physx` is the first of the two before it that is installed."""

CONCRETE = ("isaacsim_physx", "ovphysx", "newton_mjwarp")
"""Those of them that step physics."""

PATCHES = 10 * 2**15
"""Contact patches for which PhysX keeps room on a GPU: twice its default, for 4096 robots on rough ground."""

REWRITE_EPISODES = {"isaacsim_physx": 8, "ovphysx": 8}
"""`TensorEnv.rewrite_episodes` on CUDA, 1 elsewhere: PhysX takes slow factors over the host, one row as long as all."""

PHYSX_THREADS = "GRADUS_PHYSX_THREADS"
"""Variable with the number of threads that OVPhysX may have; without it, Isaac Lab's."""

SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libXt.so.6": "libxt6",
    "libSM.so.6": "libsm6",
}
"""Libraries that ovphysx and ovstage load even when nothing is drawn, and the Debian package that has each."""

_PACKAGES = {
    "isaacsim_physx": (("isaacsim-kernel",), "uv sync --extra isaacsim"),
    "ovphysx": (("isaaclab", "ovphysx", "ovstage"), "uv sync"),
    "newton_mjwarp": (("isaaclab", "newton"), "uv sync"),
}


_OTHER_NAMES = {
    **dict.fromkeys(("newton", "mujoco", "mujoco_warp", "mujoco-warp", "mjwarp", "mjx"), "newton_mjwarp"),
    **dict.fromkeys(("isaacsim", "isaac-sim", "isaac", "isaaclab", "kit"), "isaacsim_physx"),
}


class EngineError(RuntimeError):
    """An engine is unknown, is not installed, or cannot run the task."""


def missing_libraries() -> dict[str, str]:
    """System libraries that cannot be loaded, each with the Debian package that has it."""
    missing = {}
    for library, package in SYSTEM_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing[library] = package
    return missing


def available() -> dict[str, str | None]:
    """Engine name to None where it can run here, else to the reason and what to do."""
    found = {name: _why_not(name) for name in _PACKAGES}
    physx = None if None in (found["isaacsim_physx"], found["ovphysx"]) else found["ovphysx"]
    return {name: physx if name == "physx" else found[name] for name in ENGINES}


def _why_not(name: str) -> str | None:
    packages, command = _PACKAGES[name]
    for package in packages:
        try:
            distribution(package)
        except PackageNotFoundError:
            return f"{package} is not installed; install it with `{command}`"
    if name == "ovphysx" and (missing := missing_libraries()):
        return f"{', '.join(missing)} missing; install with `apt-get install {' '.join(missing.values())}`"
    return None


def check(name: str, spec: TaskSpec) -> str:
    """The concrete engine that steps `spec` when the user asks for `name`.

    A task without a simulator runs in torch, whatever the engine.

    Raises:
        EngineError: in one line, with the command that installs the engine or the engines that would do.
    """
    in_torch = spec.engines == ("torch",)
    if name not in ENGINES and not (in_torch and name == "torch"):
        raise EngineError(f"unknown engine {name!r}{_nearest(name)} (valid: {', '.join(ENGINES)})")
    if in_torch:
        return "torch"
    if reason := available()[name]:
        raise EngineError(f"engine {name}: {reason}")
    if name == "physx":
        name = "ovphysx" if _why_not("isaacsim_physx") else "isaacsim_physx"
    if name not in spec.engines:
        raise EngineError(f"task {spec.name} does not run on {name}; it runs on {', '.join(spec.engines)}")
    return name


def rewrite_episodes(engine: str, device: str) -> int:
    """`TensorEnv.rewrite_episodes` of a concrete engine on a device."""
    return REWRITE_EPISODES.get(engine, 1) if device.startswith("cuda") else 1


def _nearest(name: str) -> str:
    found = _OTHER_NAMES.get(name.lower()) or next(iter(get_close_matches(name.lower(), ENGINES, n=1)), None)
    return f"; nearest: {found!r}" if found else ""


def physics_cfg(engine: str, newton: dict[str, Any]) -> Any:
    """Isaac Lab's physics config for a concrete engine.

    `newton` holds the task's MuJoCo-Warp solver settings and, where a robot walks on a mesh, `max_triangle_pairs`.
    """
    if engine == "isaacsim_physx":
        from isaaclab_physx.physics import PhysxCfg

        return PhysxCfg(gpu_max_rigid_patch_count=PATCHES)
    if engine == "ovphysx":
        from isaaclab_ov.physics import OvPhysxCfg

        return OvPhysxCfg(gpu_max_rigid_patch_count=PATCHES)
    if engine != "newton_mjwarp":
        raise EngineError(f"{engine!r} is no concrete engine; those are {', '.join(CONCRETE)}")
    from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg, NewtonCollisionPipelineCfg

    solver = dict(newton)
    triangles = solver.pop("max_triangle_pairs", None)
    collision = NewtonCollisionPipelineCfg(max_triangle_pairs=triangles) if triangles else None
    return NewtonCfg(
        solver_cfg=MJWarpSolverCfg(integrator="implicitfast", **solver), collision_cfg=collision, num_substeps=1
    )


def _set_threads() -> None:
    """Let PhysX have the threads that `PHYSX_THREADS` says.

    Isaac Lab gives it eight, which look for work all the time: too many where several simulations share the cores. On a
    CPU the simulation of tasks that PhysX repeats is the same with any number.
    """
    import ovphysx

    config = ovphysx.PhysXConfig
    ovphysx.PhysXConfig = lambda **settings: config(**settings | {"num_threads": int(os.environ[PHYSX_THREADS])})


@contextmanager
def launch(cfg: Any, device: str, engine: str) -> Iterator[None]:
    """Start what the env config needs (Kit for Isaac Sim, nothing otherwise) and stop it at the end.

    Says what is slow before it happens: kernels compile at their first use on a machine and are kept in Warp's cache.
    """
    os.environ.setdefault("OMNI_KIT_ACCEPT_EULA", "YES")
    import warp as wp

    wp.config.quiet = True
    wp.init()
    if not wp.is_cuda_available():
        # isaaclab_ov asks for pinned host memory, which needs CUDA; on a CPU any memory will do.
        cpu = wp.get_device("cpu")
        cpu.pinned_allocator = cpu.default_allocator
    kernels = wp.config.kernel_cache_dir
    if not os.path.isdir(kernels) or len(os.listdir(kernels)) < 5:
        minutes = "2 to 4 minutes" if device.startswith("cuda") else "about a minute"
        print(f"compiling simulation kernels ({minutes}, once; kept in {kernels})", file=sys.stderr, flush=True)
    if engine == "ovphysx" and PHYSX_THREADS in os.environ:
        _set_threads()
    from isaaclab.app.sim_launcher import launch_simulation

    with launch_simulation(cfg, {"headless": True, "device": device}):
        yield
