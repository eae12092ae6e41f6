"""What a policy file may hold, checked without torch: `load_policy` and the leaderboard read policies through this."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from safetensors import safe_open

from tasks.spec import TaskSpec

FORMAT = 1
MAX_HEADER = 2**20  # [B]
MAX_LAYERS = 64
MAX_WIDTH = 2**14
"""Units of a layer. The largest protocol has 4352 envs, so what a layer computes takes at most 285 MB."""

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Layer = (
    tuple[Literal["linear"], Width, Width]
    | tuple[Literal["layer_norm"], Width]
    | tuple[Literal["elu", "relu", "silu", "tanh"]]
)


class PolicyError(ValueError):
    """A policy file that cannot be used; the message says why, in one line."""


class _Header(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)  # 6.0 and true are no integers

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]


class Reference(_Header):
    """A policy that needs no network."""

    kind: Literal["random", "zero"]
    obs_dim: Width
    action_dim: Width
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None

    @model_validator(mode="after")
    def _draws_from_a_seed(self) -> Self:
        if self.kind == "random" and self.seed is None:
            raise ValueError("a random policy needs a seed")
        return self

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """No tensors."""
        return {}


class Network(_Header):
    """A feed-forward network: an actor (`mlp`), or the Q values of an action table's rows (`discrete`)."""

    kind: Literal["mlp", "discrete"]
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=MAX_LAYERS)]
    squash: Literal["tanh", "clip"] | None = None
    obs_dim: Width | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kind == "mlp" and self.squash is None:
            raise ValueError("an mlp policy has to say squash: tanh or clip")
        if self.layers[0][0] != "linear":
            raise ValueError("the first layer has to be linear")
        width = self.inputs
        for layer in self.layers:
            if len(layer) > 1 and layer[1] != width:
                raise ValueError(f"a {layer[0]} layer for {layer[1]} inputs gets {width}")
            width = layer[-1] if len(layer) > 1 else width
        return self

    @property
    def inputs(self) -> int:
        """How many columns of an observation it takes: the first ones."""
        return self.layers[0][1]

    @property
    def outputs(self) -> int:
        """How many actions it gives, or how many rows the action table has."""
        return next(layer[-1] for layer in reversed(self.layers) if len(layer) > 1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor of the network."""
        sized = [(i, sizes) for i, (_, *sizes) in enumerate(self.layers) if sizes]
        weights = {f"net.{i}.weight": tuple(reversed(sizes)) for i, sizes in sized}
        return weights | {f"net.{i}.bias": (sizes[-1],) for i, sizes in sized}


Header = Reference | Network
_HEADER = TypeAdapter(Annotated[Header, Field(discriminator="kind")])


def read(path: str | Path) -> tuple[Header, dict[str, np.ndarray]]:
    """A policy file's header and tensors, which fit each other. Raises `PolicyError` for anything else."""
    path = Path(path)
    if not path.is_file():  # a pipe would be waited for
        raise PolicyError(f"{path} is not a policy file of this project: there is no such file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise PolicyError(f"{path} is not a policy file of this project: {error.strerror}") from None
    if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
        raise PolicyError(f"{path} is not a policy file of this project: it is no safetensors file")
    try:
        with safe_open(path, "np") as file:
            text = (file.metadata() or {})["gradus"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except MemoryError:
        raise
    except Exception:  # what a damaged file makes of the library is not declared
        raise PolicyError(f"{path} is not a policy file of this project: it is damaged, or of another kind") from None
    try:
        header = _HEADER.validate_json(text)
    except ValidationError as error:
        raise PolicyError(f"{path}: {_reason(error)}") from None
    _check_tensors(path, header, tensors)
    return header, tensors


def check_fits(header: Header, action_table: np.ndarray | None, spec: TaskSpec) -> None:
    """Raise `PolicyError` unless a policy takes what a policy may see of the task `spec`, and gives its actions."""
    if isinstance(header, Reference):
        obs_dim, actions = header.obs_dim, header.action_dim
    else:
        obs_dim = header.obs_dim or header.inputs
        actions = header.outputs if action_table is None else action_table.shape[1]
    for name, found, wanted in (("observations", obs_dim, spec.obs_dim), ("actions", actions, spec.action_dim)):
        if found != wanted:
            raise PolicyError(f"the policy is of another task: it has {found} {name}, {spec.name} has {wanted}")
    if isinstance(header, Network) and header.inputs != spec.policy_dim:
        raise PolicyError(
            f"the policy takes {header.inputs} observations; of those of {spec.name} a policy may see {spec.policy_dim}"
        )


def _check_tensors(path: Path, header: Header, tensors: dict[str, np.ndarray]) -> None:
    shapes = dict(header.shapes())
    if {"obs_mean", "obs_var"} & set(tensors):
        shapes |= dict.fromkeys(("obs_mean", "obs_var"), (header.inputs if isinstance(header, Network) else 0,))
    if header.kind == "discrete":
        table = tensors.get("actions", np.zeros(0))
        shapes["actions"] = (header.outputs, table.shape[1] if table.ndim == 2 else 1)
    for name, shape in shapes.items():
        if name not in tensors or tensors[name].shape != shape:
            found = f"has the shape {list(tensors[name].shape)}" if name in tensors else "is missing"
            raise PolicyError(f"{path}: tensor {name} {found}; by its header it has to have the shape {list(shape)}")
    if extra := set(tensors) - set(shapes):
        raise PolicyError(f"{path} has an unknown tensor {sorted(extra)[0][:60]!a}")
    for name, values in tensors.items():
        if values.dtype not in (np.float32, np.float64) or (name == "actions" and values.dtype != np.float32):
            raise PolicyError(f"{path}: tensor {name} is {values.dtype}; expected float32")
        if not np.isfinite(values).all():
            raise PolicyError(f"{path}: tensor {name} has NaN or infinite values")
    if (tensors.get("obs_var", np.zeros(1)) < 0).any():
        raise PolicyError(f"{path}: obs_var is negative")
    if (np.abs(tensors.get("actions", np.zeros(1))) > 1).any():
        raise PolicyError(f"{path}: the action table leaves the action space, which is [-1, 1]")


def _reason(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    where = [str(part) for part in found["loc"][1:3]]
    if where[:1] == ["layers"] and len(where) == 2:
        return (
            f"layer {where[1]} is none that a policy has: linear, inputs and outputs; layer_norm and its width;"
            f" elu, relu, silu or tanh; widths from 1 to {MAX_WIDTH}"
        )
    if where == ["format"]:
        return f"it has policy format {str(found['input'])[:40]!a}; this version reads format {FORMAT}"
    said = " ".join(found["msg"].removeprefix("Value error, ").split())[:200]
    return f"the header's {'.'.join(where)}: {said}" if where else said
