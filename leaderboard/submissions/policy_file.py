"""Checks of a policy file before torch sees it: whole, bounded, finite, and of the shape that its task needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from baselines.policy_header import MAX_HEADER, PolicyError, check_fits, read
from suite.untrusted import Unusable, load_json, opened
from tasks.spec import TaskSpec

LARGEST = 64 * 2**20
REFERENCES = ("random", "zero")


def check(path: Path, spec: TaskSpec) -> str:
    """The kind of the policy in `path`. Raises `Unusable` unless it can act in the task `spec`."""
    _check_keys(path)
    try:
        header, tensors = read(path)
        check_fits(header, tensors.get("actions"), spec)
    except PolicyError as error:
        raise Unusable(str(error).replace(str(path), path.name)) from None
    return header.kind


def discrete_actions(path: Path) -> np.ndarray:
    """The action table [K, action_dim] of a `discrete` policy that was checked."""
    return read(path)[1]["actions"]


def _check_keys(path: Path) -> None:
    """Refuse a header that has a key twice: readers differ in which of the two they take."""
    with opened(path, LARGEST) as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= MAX_HEADER:
            return  # `read` says so
        content = file.read(length)
    try:
        whole = load_json(content, MAX_HEADER)
        if isinstance(whole, dict) and isinstance(own := whole.get("__metadata__"), dict):
            load_json(str(own.get("gradus")), MAX_HEADER)
    except Unusable as error:
        raise Unusable(f"policy.safetensors: its header: {error}") from None
