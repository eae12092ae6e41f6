"""Tensors in the form in which OVPhysX takes them, so that it need not find that out in every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ovphysx import DLTensor


def described(tensor: torch.Tensor) -> DLTensor:
    """What OVPhysX has to know of `tensor`, which has to be contiguous, stay where it is, and be kept by the caller."""
    from ovphysx._dlpack_utils import acquire_dltensor, copy_dltensor

    description, capsule = acquire_dltensor(tensor)
    copied = copy_dltensor(description)
    del capsule
    return copied
