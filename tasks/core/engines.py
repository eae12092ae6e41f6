"""What steps the physics: the engines by name, which of them are installed, and which one steps a task.

A package adds an engine by an entry point of the group `gradus.engines`: an `Engine`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from tasks.core.registry import Registry
from tasks.spec import TaskSpec

PHYSX = "physx"
"""The name for the first of Isaac Sim's PhysX and the kit-less one that is installed."""

TORCH = "torch"
"""The engine of tasks without a simulator."""

PHYSX_THREADS = "GRADUS_PHYSX_THREADS"
"""Variable with the number of threads that OVPhysX may have; without it, Isaac Lab's."""

SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libXt.so.6": "libxt6",
    "libSM.so.6": "libsm6",
}
"""Libraries that ovphysx and ovstage load even when nothing is drawn, and the Debian package that has each."""


class EngineError(RuntimeError):
    """An engine is unknown, is not installed, or cannot run the task."""


@dataclass(frozen=True)
class Engine:
    """What is known of an engine before it starts. Plain data: what carries it out is imported with the first env.

    Attributes:
        name: under which `--physics` takes it and results have it.
        runtime: `module:attribute` of the object that carries it out: a `tasks.isaaclab.runtime.Runtime`, or for tasks
            without a simulator what those ask it for (`tasks.toy.env.Integrator`).
        simulator: whether it starts one. An engine without one steps the tasks that declare it or `torch`.
        packages: distributions that it needs.
        install: the command that brings them.
        libraries: system libraries that it loads, each with the Debian package that has it.
        also: what else it is called; such a name is refused with a hint.
        rewrite_episodes: `EpisodeEnv.rewrite_episodes` on CUDA; 1 where slow factors cost no more than others.
        counterpart: the engine on which a policy that was trained on this one is evaluated besides, if any.
    """

    name: str
    runtime: str
    simulator: bool = True
    packages: tuple[str, ...] = ()
    install: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    rewrite_episodes: int = 1
    counterpart: str = ""

    def why_not(self) -> str | None:
        """None where it can run here, else the reason and what to do."""
        for package in self.packages:
            try:
                distribution(package)
            except PackageNotFoundError:
                return f"{package} is not installed; install it with `{self.install}`"
        if missing := missing_libraries(self.libraries):
            return f"{', '.join(missing)} missing; install with `apt-get install {' '.join(missing.values())}`"
        return None

    def load(self) -> Any:
        """The object that carries it out."""
        module, _, attribute = self.runtime.partition(":")
        return getattr(import_module(module), attribute)


def missing_libraries(libraries: Mapping[str, str] = SYSTEM_LIBRARIES) -> dict[str, str]:
    """Those system libraries that cannot be loaded, each with the Debian package that has it."""
    missing = {}
    for library, package in libraries.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing[library] = package
    return missing


# PhysX takes slow factors over the host, one row as long as all, so it has K = 8 episodes between two turns.
_BUILTIN = {
    "isaacsim_physx": Engine(
        "isaacsim_physx",
        runtime="tasks.isaaclab.isaacsim:RUNTIME",
        packages=("isaacsim-kernel",),
        install="uv sync --extra isaacsim",
        also=("isaacsim", "isaac-sim", "isaac", "isaaclab", "kit"),
        rewrite_episodes=8,
        counterpart="newton_mjwarp",
    ),
    "ovphysx": Engine(
        "ovphysx",
        runtime="tasks.isaaclab.ovphysx.runtime:RUNTIME",
        packages=("isaaclab", "ovphysx", "ovstage"),
        install="uv sync",
        libraries=SYSTEM_LIBRARIES,
        rewrite_episodes=8,
        counterpart="newton_mjwarp",
    ),
    "newton_mjwarp": Engine(
        "newton_mjwarp",
        runtime="tasks.isaaclab.newton.runtime:RUNTIME",
        packages=("isaaclab", "newton"),
        install="uv sync",
        also=("newton", "mujoco", "mujoco_warp", "mujoco-warp", "mjwarp", "mjx"),
        counterpart=PHYSX,
    ),
    TORCH: Engine(TORCH, runtime="tasks.toy.env:semi_implicit", simulator=False),
}


def _wrong(name: str, found: Any) -> str | None:
    if not isinstance(found, Engine):
        return f"is a {type(found).__name__}, not an Engine"
    if name == PHYSX:
        return "has the name that stands for either of two engines"
    return None if found.name == name else f"is registered under another name than its own, {found.name!r}"


REGISTRY = Registry[Engine]("gradus.engines", "engine", _BUILTIN, _wrong)
"""All engines that can step a task; `physx`, which stands for either of two, is none."""


def concrete() -> list[str]:
    """The engines that a task may be asked to run on, without `physx`, which stands for either of two of them."""
    return [name for name in REGISTRY.names() if name != TORCH]


def names() -> list[str]:
    """Names that `--physics` takes."""
    found = concrete()
    found.insert(found.index("ovphysx") + 1, PHYSX)
    return found


def register(engine: Engine) -> Engine:
    """Add an engine for this process alone, and return it. Raises `RegistryError` for a name that is taken."""
    REGISTRY.register(engine.name, engine)
    return engine


def get(name: str) -> Engine:
    """The engine called `name`. Raises `EngineError` for a name that no engine has, `physx` included."""
    if name not in REGISTRY:
        raise EngineError(f"{name!r} is no concrete engine; those are {', '.join(concrete())}")
    return REGISTRY.get(name)


def available() -> dict[str, str | None]:
    """Name to None where the engine can run here, else to the reason and what to do."""
    found = {name: get(name).why_not() for name in concrete()}
    physx = None if None in (found["isaacsim_physx"], found["ovphysx"]) else found["ovphysx"]
    return {name: physx if name == PHYSX else found[name] for name in names()}


def without_simulator(spec: TaskSpec) -> bool:
    """Whether no simulator starts where the task is built."""
    return all(name in REGISTRY and not REGISTRY.get(name).simulator for name in spec.engines)


def serves(name: str, spec: TaskSpec) -> bool:
    """Whether the concrete engine `name` steps the task: one that it declares; for `torch` any without a simulator."""
    return name in spec.engines or (name in REGISTRY and TORCH in spec.engines and not REGISTRY.get(name).simulator)


def check(name: str, spec: TaskSpec) -> str:
    """The concrete engine that steps `spec` when the user asks for `name`.

    A task without a simulator runs on the engine that it declares, whatever the engine with one.

    Raises:
        EngineError: in one line, with the command that installs the engine or the engines that would do.
    """
    in_torch = without_simulator(spec)
    if name not in names() and not (in_torch and name == TORCH):
        raise EngineError(f"unknown engine {name!r}{_nearest(name)} (valid: {', '.join(names())})")
    if in_torch and (name in (PHYSX, TORCH) or get(name).simulator):
        return spec.engines[0]
    if reason := available()[name]:
        raise EngineError(f"engine {name}: {reason}")
    if name == PHYSX:
        name = "ovphysx" if get("isaacsim_physx").why_not() else "isaacsim_physx"
    if not serves(name, spec):
        raise EngineError(f"task {spec.name} does not run on {name}; it runs on {', '.join(spec.engines)}")
    return name


def rewrite_episodes(name: str, device: str) -> int:
    """`EpisodeEnv.rewrite_episodes` of a concrete engine on a device."""
    return get(name).rewrite_episodes if device.startswith("cuda") else 1


def _nearest(name: str) -> str:
    other = {also: engine for engine in concrete() for also in get(engine).also}
    found = other.get(name.lower()) or next(iter(get_close_matches(name.lower(), names(), n=1)), None)
    return f"; nearest: {found!r}" if found else ""
