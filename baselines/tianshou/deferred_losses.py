"""Losses that an update reports without waiting for the device after every minibatch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def noted() -> Iterator[list[torch.Tensor]]:
    """Collect the losses (tensors with a gradient) whose `item()` is asked for, and answer 0.

    Tianshou asks four times in a minibatch, for the statistics that it returns at the end of the update. Each time
    the host would wait until the GPU has done all it was given, and could not prepare the next minibatch meanwhile.
    """
    losses: list[torch.Tensor] = []
    item = torch.Tensor.item

    def note(tensor: torch.Tensor) -> Any:
        if not tensor.requires_grad:
            return item(tensor)
        losses.append(tensor.detach())
        return 0.0

    torch.Tensor.item = note
    try:
        yield losses
    finally:
        torch.Tensor.item = item
