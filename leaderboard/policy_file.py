"""Checks of a policy file before torch sees it: whole, bounded, finite, and of the shape that its task needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from baselines.policy_header import PolicyError, check_fits, read
from leaderboard.schema import Unusable
from tasks.spec import TaskSpec

REFERENCES = ("random", "zero")


def check(path: Path, spec: TaskSpec) -> str:
    """The kind of the policy in `path`. Raises `Unusable` unless it can act in the task `spec`."""
    try:
        header, tensors = read(path)
        check_fits(header, tensors.get("actions"), spec)
    except PolicyError as error:
        raise Unusable(str(error).replace(str(path), path.name)) from None
    return header.kind


def discrete_actions(path: Path) -> np.ndarray:
    """The action table [K, action_dim] of a `discrete` policy that was checked."""
    return read(path)[1]["actions"]
