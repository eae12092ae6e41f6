"""What runs hold, whatever file it is written in: so that a copy is found that another writer packed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import safe_open

# What the policy brought about. The other columns are the protocol's, or names that a copy may change.
OUTCOME = ("return", "length", "success_once", "success_at_end", "success", "termination")


def content_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of named arrays: their names, shapes and values, in the order of the names.

    Numbers are compared as float32, since no simulator and no network knows more digits; -0 is 0, and all NaN are one.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.asarray(arrays[name])
        digest.update(repr((name, values.shape)).encode())
        if values.dtype.kind in "OSU":
            digest.update("\0".join(map(str, values.ravel().tolist())).encode(errors="surrogatepass"))
            continue
        with np.errstate(over="ignore"):
            numbers = values.astype("<f4") + np.float32(0)
        numbers[np.isnan(numbers)] = np.nan
        digest.update(numbers.tobytes())
    return digest.hexdigest()


def episodes_hash(task: str, table: pa.Table) -> str:
    """Hash of what a policy brought about in the episodes of a task, in the protocol's order."""
    names = [name for name in table.column_names if name in OUTCOME or name.startswith("violation.")]
    return content_hash({name: table[name].to_numpy(zero_copy_only=False) for name in names} | _task(task))


def policy_hash(task: str, path: Path) -> str | None:
    """Hash of the tensors of a task's policy, or None for one that has none, as random actions.

    The file has to be one that `policy_file.check` took. Names of tensors do not count: an idle layer moves them.
    """
    with safe_open(path, "np") as file:
        names = sorted(file.keys(), key=_place)
        tensors = {f"{i:04}": file.get_tensor(name) for i, name in enumerate(names)}
    return content_hash(tensors | _task(task)) if tensors else None


def _task(task: str) -> dict[str, np.ndarray]:
    return {"": np.array([task])}


def _place(name: str) -> tuple[str, int, str]:
    kind, _, rest = name.partition(".")
    index, _, part = rest.partition(".")
    return kind, int(index or 0), part
