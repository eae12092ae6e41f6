"""Checks of a policy file before torch sees it: whole, bounded, finite, and of the shape that its task needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from leaderboard.schema import Unusable
from tasks.spec import TaskSpec

FORMAT = 1  # of baselines.policy
MAX_HEADER = 2**20
MAX_LAYERS = 64
ACTIVATIONS = ("elu", "relu", "silu", "tanh")
REFERENCES = ("random", "zero")


def check(path: Path, spec: TaskSpec) -> str:
    """The kind of the policy in `path`. Raises `Unusable` unless it can act in the task `spec`."""
    header, tensors = _read(path)
    kind = header.get("kind")
    if header.get("format") != FORMAT:
        raise Unusable(f"policy.safetensors has policy format {_short(header.get('format'))}, expected {FORMAT}")
    if kind in REFERENCES:
        for name, wanted in (("obs_dim", spec.obs_dim), ("action_dim", spec.action_dim)):
            if header.get(name) != wanted:
                raise Unusable(f"the policy is of another task: {name} {_short(header.get(name))}, expected {wanted}")
        if tensors or (kind == "random" and not _is_int(header.get("seed"), 0, 2**63 - 1)):
            raise Unusable(f"policy.safetensors is not a policy of kind {kind}")
        return kind
    if kind not in ("mlp", "discrete"):
        raise Unusable(f"policy.safetensors has unknown kind {_short(kind)}; expected mlp, discrete, random or zero")
    width = _check_network(header, tensors, spec)
    if kind == "mlp":
        if header.get("squash") not in ("tanh", "clip"):
            raise Unusable("policy.safetensors has to say squash: tanh or clip")
        if width != spec.action_dim:
            raise Unusable(f"the policy is of another task: {width} actions, {spec.name} has {spec.action_dim}")
    else:
        _check_shape(tensors.pop("actions", None), (width, spec.action_dim), "actions")
    for name in ("obs_mean", "obs_var"):
        if {"obs_mean", "obs_var"} & set(tensors):
            _check_shape(tensors.get(name), (header["layers"][0][1],), name)
    if (tensors.pop("obs_var", np.zeros(1)) < 0).any():
        raise Unusable("policy.safetensors: obs_var is negative")
    tensors.pop("obs_mean", None)
    if tensors:
        raise Unusable(f"policy.safetensors has an unknown tensor {_short(sorted(tensors)[0])}")
    return kind


def discrete_actions(path: Path) -> np.ndarray:
    """The action table [K, action_dim] of a `discrete` policy that was checked."""
    return _read(path)[1]["actions"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
        raise Unusable("policy.safetensors is not a safetensors file (its header cannot have that length)")
    try:
        with safe_open(path, "np") as file:
            header = json.loads((file.metadata() or {})["gradus"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise Unusable("policy.safetensors is damaged, or not a policy file of the suite") from None
    if not isinstance(header, dict):
        raise Unusable("policy.safetensors is not a policy file of the suite")
    for name, values in tensors.items():
        if values.dtype not in (np.float32, np.float64):
            raise Unusable(f"policy.safetensors: tensor {_short(name)} is {values.dtype}, not float")
        if not np.isfinite(values).all():
            raise Unusable(f"policy.safetensors: tensor {_short(name)} has NaN or infinite values")
    return header, tensors


def _check_network(header: Mapping[str, Any], tensors: dict[str, np.ndarray], spec: TaskSpec) -> int:
    """Take the network's tensors out of `tensors`; returns the width of its output."""
    layers = header.get("layers")
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        raise Unusable(f"policy.safetensors has to have 1 to {MAX_LAYERS} layers")
    if header.get("obs_dim", spec.obs_dim) != spec.obs_dim:
        got = _short(header["obs_dim"])
        raise Unusable(f"the policy is of another task: obs_dim {got}, {spec.name} has {spec.obs_dim}")
    match layers[0]:
        case ["linear", width, _] if width in (spec.policy_dim, spec.obs_dim):
            pass
        case _:
            raise Unusable(f"the policy is of another task: {spec.name} has {spec.policy_dim} observations")
    if header.get("obs_dim", width) != spec.obs_dim:
        raise Unusable(f"the policy is of another task: {spec.name} gives {spec.obs_dim} observations")
    for i, layer in enumerate(layers):
        width, shapes = _layer(layer, width)
        for part, shape in shapes.items():
            _check_shape(tensors.pop(f"net.{i}.{part}", None), shape, f"net.{i}.{part}")
    return width


def _layer(layer: Any, width: int) -> tuple[int, dict[str, tuple[int, ...]]]:
    """Width of what a layer gives for an input of `width`, and the shapes of its tensors."""
    match layer:
        case ["linear", taken, out] if taken == width and _is_int(out, 1, 2**20):
            return out, {"weight": (out, taken), "bias": (out,)}
        case ["layer_norm", taken] if taken == width:
            return width, {"weight": (width,), "bias": (width,)}
        case [name] if name in ACTIVATIONS:
            return width, {}
    raise Unusable(f"policy.safetensors has layer {_short(layer)}, unknown or not for {width} inputs")


def _check_shape(values: np.ndarray | None, shape: tuple[int, ...], name: str) -> None:
    if values is None or values.shape != shape:
        raise Unusable(f"policy.safetensors: tensor {name} has to have the shape {list(shape)}")


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _short(value: Any) -> str:
    return ascii(value)[:60]
