"""Policy files: safetensors with the architecture as JSON in the metadata. Nothing of Tianshou is needed to act.

The metadata has one key, `gradus` (a map with several would be written in an order that changes): a JSON object
with `format`, `kind` and what the kind needs.

| kind | acts by |
|---|---|
| `mlp` | a feed-forward actor, squashed by `tanh` where `squash` says so, then bounded to [-1, 1] |
| `discrete` | the row of the action table with the largest Q value |
| `random` | uniform draws from [-1, 1], from a generator seeded with `seed` |
| `zero` | zeros |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from baselines.actions import to_env
from baselines.data.normalizer import ObsNormalizer
from baselines.policy_header import FORMAT, Network, PolicyError, read
from tasks.core.files import atomic
from tasks.multitask.declare import MultiTaskSpec
from tasks.spec import TaskSpec

ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}

Policy = Callable[[torch.Tensor], torch.Tensor]
"""Actions [N, action_dim] in [-1, 1] from obs [N, obs_dim]."""


def save_policy(
    path: str | Path,
    layers: Iterable[nn.Module],
    squash: bool,
    norm: ObsNormalizer | None,
    table: torch.Tensor | None,
    obs_dim: int | None = None,
) -> None:
    """Write an `mlp` policy, or a `discrete` one if there is a `table` [K, action_dim] of actions.

    `layers` are the feed-forward actor's (or the Q network's): Linear, LayerNorm and activations. They take the first
    columns of an observation that is `obs_dim` wide; those behind them, if any, are what only a critic saw.

    Raises:
        TypeError: for a layer that no policy file can hold.
        PolicyError: for what `load_policy` would refuse; then no file is written.
    """
    net = nn.Sequential(*layers)
    header = {"kind": "mlp" if table is None else "discrete", "layers": [_describe(layer) for layer in net]}
    if obs_dim is not None:
        header["obs_dim"] = obs_dim
    tensors = {f"net.{i}.{key}": value for i, layer in enumerate(net) for key, value in _parameters(layer).items()}
    if table is None:
        header["squash"] = "tanh" if squash else "clip"
    else:
        tensors["actions"] = table.float()
    if norm is not None:
        seen = slice(net[0].in_features)  # what is behind is for critics
        tensors |= {"obs_mean": norm.mean[seen], "obs_var": norm.var[seen]}
    _write(path, header, tensors)


def export_reference(name: str, spec: TaskSpec, path: str | Path) -> None:
    """Write the policy file of `random` (seed 0) or `zero` for a task."""
    header: dict[str, Any] = {"kind": name, "obs_dim": spec.obs_dim, "action_dim": spec.action_dim}
    if name == "random":
        header["seed"] = 0
    elif name != "zero":
        raise ValueError(f"unknown reference policy {name!r}; valid: random, zero")
    _write(path, header, {})


def load_policy(path: str | Path, device: str | torch.device) -> Policy:
    """Read a policy file; the result acts on tensors on `device`, deterministically.

    `random` draws on the CPU, so that it acts the same on every device. Raises `PolicyError` for a file that is
    missing, damaged, of another format, has values that are not finite, or whose tensors do not fit its layers.
    """
    header, tensors = read(path)
    if isinstance(header, Network):
        return _Network(header, tensors).to(device)
    if header.kind == "zero":
        return lambda obs: torch.zeros(len(obs), header.action_dim, device=obs.device)
    return _Uniform(header.action_dim, header.seed)


def specialise(path: str | Path, spec: MultiTaskSpec, k: int, out: str | Path) -> None:
    """Write the `mlp` or `discrete` policy that a policy for several tasks is in task k: an ordinary one of that task.

    What is constant in a task (which task it is, and observations that it does not have, which are 0) goes into the
    first layer's bias; actions that it does not have are left out. `path` is a file of `save_policy` for `spec`.
    """
    header, arrays = read(path)
    tensors = {name: torch.tensor(values) for name, values in arrays.items()}
    part = spec.parts[k]
    inputs = spec.obs_columns(k)[: part.policy_dim]
    constant = torch.zeros(spec.policy_dim, dtype=torch.float64)
    constant[spec.task_column(k)] = 1.0
    if "obs_mean" in tensors:
        norm = ObsNormalizer(spec.policy_dim)
        norm.mean.copy_(tensors["obs_mean"])
        norm.var.copy_(tensors["obs_var"])
        constant = norm(constant)
        tensors |= {name: tensors[name][inputs] for name in ("obs_mean", "obs_var")}
    constant[inputs] = 0.0
    weight, bias = tensors["net.0.weight"], tensors["net.0.bias"]
    tensors["net.0.bias"] = (bias.double() + weight.double() @ constant).to(bias.dtype)
    tensors["net.0.weight"] = weight[:, inputs]
    layers = [list(layer) for layer in header.layers]
    layers[0][1] = len(inputs)
    outputs = spec.action_columns(k)
    if header.kind == "discrete":
        tensors["actions"] = tensors["actions"][:, outputs]
    else:
        last = f"net.{len(layers) - 1}"
        tensors |= {name: tensors[name][outputs] for name in (f"{last}.weight", f"{last}.bias")}
        layers[-1][2] = len(outputs)
    said = header.model_dump(exclude_none=True) | {"layers": layers, "obs_dim": part.obs_dim}
    _write(out, said, tensors)


class _Uniform:
    def __init__(self, action_dim: int, seed: int) -> None:
        self._action_dim, self._generator = action_dim, torch.Generator().manual_seed(seed)

    def __call__(self, obs: torch.Tensor) -> torch.Tensor:
        return (torch.rand(len(obs), self._action_dim, generator=self._generator) * 2 - 1).to(obs.device)


class _Network(nn.Module):
    def __init__(self, header: Network, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        tensors = {name: torch.tensor(values) for name, values in arrays.items()}
        self.net = nn.Sequential(*(_build(layer) for layer in header.layers))
        self.net.load_state_dict({key[4:]: value for key, value in tensors.items() if key.startswith("net.")})
        self.seen = header.inputs
        self.obs_dim = header.obs_dim or self.seen
        self.discrete = header.kind == "discrete"
        self.squash = header.squash == "tanh"
        self.register_buffer("table", tensors["actions"] if self.discrete else None)
        self.norm = None
        if "obs_mean" in tensors:
            self.norm = ObsNormalizer(len(tensors["obs_mean"]))
            self.norm.mean.copy_(tensors["obs_mean"])
            self.norm.var.copy_(tensors["obs_var"])
        self.requires_grad_(False)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        if obs.shape[-1] != self.obs_dim:
            raise PolicyError(f"the policy is for {self.obs_dim} observations, not {obs.shape[-1]}")
        obs = obs[..., : self.seen]
        out = self.net(obs if self.norm is None else self.norm(obs))
        if self.discrete:
            return to_env(out.argmax(dim=-1), self.table)
        return to_env(out.tanh() if self.squash else out, None)


def _describe(layer: nn.Module) -> list[Any]:
    if isinstance(layer, nn.Linear):
        return ["linear", layer.in_features, layer.out_features]
    if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1 and layer.eps == nn.LayerNorm(1).eps:
        return ["layer_norm", layer.normalized_shape[0]]
    for name, activation in ACTIVATIONS.items():
        if type(layer) is activation and getattr(layer, "alpha", 1.0) == 1.0:
            return [name]
    raise TypeError(f"no policy file can hold {layer}: expected Linear, LayerNorm with its default eps, {_NAMES}")


_NAMES = ", ".join(activation.__name__ for activation in ACTIVATIONS.values())


def _parameters(layer: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a layer as the file has them: float32, and those that the layer does without as what they are."""
    found = dict(layer.state_dict())
    if isinstance(layer, nn.LayerNorm):
        found.setdefault("weight", torch.ones(layer.normalized_shape))
    if isinstance(layer, nn.Linear | nn.LayerNorm):
        found.setdefault("bias", torch.zeros(len(found["weight"])))
    return {name: value.float() for name, value in found.items()}


def _build(layer: Iterable[Any]) -> nn.Module:
    name, *sizes = layer
    return {"linear": nn.Linear, "layer_norm": nn.LayerNorm, **ACTIVATIONS}[name](*sizes)


def _write(path: str | Path, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    data = save(tensors, {"gradus": json.dumps(header | {"format": FORMAT}, sort_keys=True)})

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)
        read(temporary)

    atomic(path, write)  # on the disk before it has its name: where the file is, the training is done
