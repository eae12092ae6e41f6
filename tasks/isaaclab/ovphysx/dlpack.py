"""Descriptions of tensors for OVPhysX, made once instead of in every call."""

from __future__ import annotations

import torch
from ovphysx import DLTensor


def described(tensor: torch.Tensor) -> DLTensor:
    """The description of `tensor`, which OVPhysX takes in its place.

    The tensor is contiguous and stays where it is. The caller keeps it: the description does not.
    """
    from ovphysx._dlpack_utils import acquire_dltensor, copy_dltensor  # here, since they may be gone

    description, capsule = acquire_dltensor(tensor)
    copied = copy_dltensor(description)
    del capsule
    return copied
