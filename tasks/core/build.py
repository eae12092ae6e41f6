"""Building the env of a task, see `build`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tasks.core import caches, engines, fast
from tasks.spec import TaskSpec

if TYPE_CHECKING:  # specs are read without torch
    from tasks.core.env import TensorEnv


def build(
    spec: TaskSpec, num_envs: int, device: str, engine: str, recorded: bool = True, difficulty: float = 0.0
) -> TensorEnv:
    """Build the env of a task. A simulator starts here, one per process.

    Args:
        spec: the task.
        num_envs: N.
        device: `cpu` or `cuda:K`.
        engine: any of `tasks.core.engines.names()`, `physx` included; `torch` for a task without a simulator.
        recorded: on CUDA, parts of a step become graphs (`TensorEnv.record`).
        difficulty: of all episodes, in [0, 1], until a sampler is set: 0 is g1, 1 is g5 (`tasks.spec.difficulty_of`).

    Raises `EngineError` for an engine that is unknown, not installed or not the task's.
    """
    engine = engines.check(engine, spec)
    module, function = spec.make_env.split(":")
    if engines.get(engine).simulator:
        caches.prepare()
    recorded = recorded and device.startswith("cuda") and fast.enabled()
    if recorded:  # by name: torch is imported with the first env, not with this
        record = import_module("tasks.cuda.record")
        record.prepare()
    env = getattr(import_module(module), function)(spec, num_envs=num_envs, device=device, engine=engine)
    if recorded:
        env.record()
    if difficulty:
        env.set_sampler(lambda env_ids: env.difficulty.new_full((len(env_ids),), difficulty))
    return env
