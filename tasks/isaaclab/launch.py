"""Starting a simulation, and what of its scene is for pictures only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import warp as wp
from isaaclab.app.sim_launcher import launch_simulation
from isaaclab.assets import AssetBaseCfg
from isaaclab.scene import InteractiveSceneCfg

from tasks.isaaclab import private
from tasks.isaaclab.runtime import Runtime


def set_scenery(scene: InteractiveSceneCfg, runtime: Runtime, pictured: bool) -> None:
    """Keep what an env has for pictures only out of the physics: on CUDA OVPhysX clones nothing that has none.

    Without a camera it is dropped. With one, some engines let the renderer's context alone copy it to all envs; on
    Newton that is the context of the physics, too.
    """
    for name, entity in vars(scene).items():
        if type(entity) is AssetBaseCfg and "ENV_REGEX_NS" in entity.prim_path:
            if not pictured:
                setattr(scene, name, None)
            else:
                runtime.set_scenery(entity)


@contextmanager
def launch(cfg: Any, device: str, runtime: Runtime) -> Iterator[None]:
    """Start what the env config needs (Kit for Isaac Sim, nothing otherwise) and stop it at the end.

    Says what is slow before it happens: kernels compile at their first use on a machine and are kept in Warp's cache.

    Raises:
        RuntimeError: in one line, where Isaac Lab lacks a private name that there is no public way to.
    """
    private.HOME.demand()
    os.environ.setdefault("OMNI_KIT_ACCEPT_EULA", "YES")
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
    runtime.prepare()
    with launch_simulation(cfg, {"headless": True, "device": device}):
        yield
