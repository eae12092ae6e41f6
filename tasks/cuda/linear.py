"""Linear equations in operations that a CUDA graph can hold."""

from __future__ import annotations

import torch


def solve(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """x [N, n] with `matrix` x = `right`, for symmetric positive definite matrices [N, n, n] and right sides [N, n].

    By Gauss-Jordan elimination, which needs no pivots for such matrices. torch's own solvers of many small systems are
    MAGMA's on CUDA, which a graph cannot hold; for a handful of unknowns three operations each do as well.
    """
    rows = torch.cat((matrix, right[..., None]), dim=-1)
    for k in range(right.shape[-1]):
        pivot = rows[:, k] / rows[:, k, k, None]
        rows = torch.addcmul(rows, rows[:, :, k, None], pivot[:, None], value=-1.0)
        rows[:, k] = pivot
    return rows[..., -1]
