"""Losses that an update reports without waiting for the device after every minibatch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class _Later:
    """A number on the device; all that were noted beside it come with the first one that is looked at."""

    def __init__(self, noted: list[torch.Tensor], index: int, values: list[float]) -> None:
        self._noted, self._index, self._values = noted, index, values

    def __float__(self) -> float:
        if len(self._values) < len(self._noted):
            self._values[:] = torch.stack(self._noted).tolist()
        return self._values[self._index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(float(self), dtype)


@contextmanager
def fetch_later() -> Iterator[None]:
    """Let `item()` of a loss (a tensor with a gradient) return what NumPy takes for its value once it is asked for.

    Tianshou calls it four times in a minibatch for the statistics that it returns at the end of the update. Each time
    the host would wait until the GPU has done all it was given, and could not prepare the next minibatch meanwhile.
    """
    noted: list[torch.Tensor] = []
    values: list[float] = []
    item = torch.Tensor.item

    def note(tensor: torch.Tensor) -> Any:
        if not tensor.requires_grad:
            return item(tensor)
        noted.append(tensor.detach())
        return _Later(noted, len(noted) - 1, values)

    torch.Tensor.item = note
    try:
        yield
    finally:
        torch.Tensor.item = item
