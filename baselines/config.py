"""Values of the learners' settings, from a YAML file each. Types and limits are the `schema` of an `AlgorithmDef`.

A file has three parts: `defaults`, `budgets.<budget>` and `tasks.<task>` (which may hold `budgets.<budget>` again);
the later and the deeper one wins.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from baselines.algorithms import registry as algorithms
from baselines.algorithms.definition import AgentConfig
from baselines.algorithms.registry import ALGORITHMS
from tasks.core.settings import as_dict, merged


def schemas() -> list[type[AgentConfig]]:
    """The types of all learners' configs."""
    return [algorithms.get(name).schema for name in ALGORITHMS.names()]


def schema(algo: str) -> DictConfig:
    """The typed config of `algo` without values. Raises `ValueError` for a name that has none."""
    return OmegaConf.structured(algorithms.get(algo).schema)


def load(algo: str, task: str, budget: str) -> DictConfig:
    """The config of `algo` on `task` at `budget` (smoke, quick or full); setting an unknown key raises.

    Raises `ValueError` where the file has a key that the config has not, a value of another type, or lacks a value.
    """
    cfg = schema(algo)
    file = algorithms.get(algo).values
    parts = _read(file)
    of_task = parts.get("tasks", {}).get(task, {})
    layers = {
        "defaults": parts["defaults"],
        f"budgets.{budget}": parts.get("budgets", {}).get(budget, {}),
        f"tasks.{task}": {key: value for key, value in of_task.items() if key != "budgets"},
        f"tasks.{task}.budgets.{budget}": of_task.get("budgets", {}).get(budget, {}),
    }
    try:
        cfg = merged(cfg, {key: value for layer in layers.values() for key, value in layer.items()})
    except OmegaConfBaseException:
        for name, layer in layers.items():  # which one was it
            try:
                merged(cfg, layer)
            except OmegaConfBaseException as error:
                raise ValueError(f"{file.name}, {name}: {str(error).splitlines()[0]}") from error
        raise
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise ValueError(f"{file.name}: no value for {', '.join(missing)}")
    check(algo, cfg)
    return cfg


@cache
def _read(file: Path) -> dict[str, Any]:
    """The content of a config file; nobody may change it."""
    return OmegaConf.to_container(OmegaConf.load(file))


def check(algo: str, cfg: DictConfig) -> None:
    """Raise `ValueError`, naming the key, for a value that no training with `algo` can use."""
    algorithms.get(algo).check(as_dict(cfg))  # look-ups in plain data are fast


def digest(cfg: DictConfig) -> str:
    """SHA-256 of the resolved config, whatever the order of its keys."""
    return hashlib.sha256(OmegaConf.to_yaml(cfg, resolve=True, sort_keys=True).encode()).hexdigest()
