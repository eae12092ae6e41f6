"""Checkpoint files: one file, written atomically, with a checksum, and loaded without pickle.

Layout: the magic bytes, the SHA-256 of all that follows, the length of the metadata (8 bytes, little endian), the
metadata (JSON), and what `torch.save` wrote.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.core.files import atomic

_MAGIC = b"GRADUS-CHECKPOINT-1\n"
_HASH = hashlib.sha256().digest_size
_HEAD = 2**20  # [bytes] metadata is smaller


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why."""


def save(path: str | Path, metadata: dict[str, Any], state: dict[str, Any]) -> None:
    """Write `state`: tensors, numbers, strings, and lists, tuples and dicts of them. The old file stays until then."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = io.BytesIO()
    text = json.dumps(metadata, sort_keys=True).encode()
    body.write(len(text).to_bytes(8, "little") + text)
    payload = io.BytesIO()
    torch.save(state, payload)
    body.write(payload.getbuffer())

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body.getbuffer()).digest())
            file.write(body.getbuffer())

    atomic(path, write)


def load(path: str | Path, expected: dict[str, Any], device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and state. Raises `CheckpointError` if the file is absent or damaged, or differs from `expected`."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    if not data.startswith(_MAGIC):
        raise CheckpointError(f"{path} is not a checkpoint of this project (or of another format version)")
    start = len(_MAGIC)
    checksum, body = data[start : start + _HASH], memoryview(data)[start + _HASH :]
    if hashlib.sha256(body).digest() != checksum:
        raise CheckpointError(f"checkpoint {path} is truncated or damaged: its checksum does not match")
    end = 8 + int.from_bytes(body[:8], "little")
    metadata = json.loads(bytes(body[8:end]))
    for key, value in expected.items():
        if metadata.get(key) != value:
            raise CheckpointError(f"checkpoint {path} has {key} {metadata.get(key)!r}, this training has {value!r}")
    try:
        state = torch.load(io.BytesIO(body[end:]), map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"checkpoint {path} has an unreadable body: {error}") from error
    return metadata, state


def env_steps(path: str | Path) -> int:
    """At how many env steps a checkpoint was saved. Raises `CheckpointError` where its head says nothing of that."""
    try:
        with open(path, "rb") as file:
            file.seek(len(_MAGIC) + _HASH)
            size = int.from_bytes(file.read(8), "little")
            return int(json.loads(file.read(min(size, _HEAD)))["env_steps"])
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(f"checkpoint {path} is damaged, or not one of this project") from None


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's global generators, in types that load without pickle."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Undo `random_state`."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
