"""Tianshou's `Batch` with a split that stays on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import torch
from tianshou.data import Batch


def tensor_batch(**tensors: torch.Tensor) -> TensorBatch:
    """A `TensorBatch` of these tensors and an empty `info`, without Tianshou's parsing of every value."""
    batch = TensorBatch()
    batch.__dict__.update(tensors, info=Batch())
    return batch


class AlwaysTraining:
    """Keeps an `Algorithm` in training mode, which its networks do not depend on.

    Tianshou switches it on and off around every update, through every submodule: up to a fifth of the time that an
    update of small networks takes.
    """

    def train(self, mode: bool = True) -> Self:
        """Do nothing."""
        return self


class TensorBatch(Batch):
    """A `Batch` of tensors [n, ...] on one device. Stock `split` indexes them with NumPy arrays."""

    def split(self, size: int, shuffle: bool = True, merge_last: bool = False) -> Iterator[TensorBatch]:
        """Yield minibatches of `size` rows (-1: all), the remainder added to the last one if `merge_last`."""
        tensors: dict[str, Any] = {key: x for key, x in self.__dict__.items() if isinstance(x, torch.Tensor)}
        first = next(iter(tensors.values()))
        total = len(first)
        size = total if size == -1 else min(size, total)
        order = torch.randperm(total, device=first.device) if shuffle else None
        starts = list(range(0, total, size))
        if merge_last and total % size and len(starts) > 1:
            starts.pop()
        for start, end in zip(starts, [*starts[1:], total], strict=True):
            if order is None:
                yield tensor_batch(**{key: x[start:end] for key, x in tensors.items()})
            else:
                rows = order[start:end]
                yield tensor_batch(**{key: x.index_select(0, rows) for key, x in tensors.items()})
