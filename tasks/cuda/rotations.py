"""Quaternions (x, y, z, w) in few operations: to the last bit what Isaac Lab's functions of dozens give.

Isaac Lab computes element by element. Here all elements are computed together: each is a sum or difference of two
numbers that are picked by index. On a GPU an operation costs the same whatever its size.
"""

from __future__ import annotations

from functools import cache

import torch

# An element is a sum a + s b: a by index, b by index, s. For `multiply`, factors of yy, zz, ww, qq, x, y, z and w:
_LEFT = (3, 3, 2, 2, 0, 3, 2, 2), (1, 1, 0, 0, 3, 0, 1, 1), (-1, 1, 1, -1, 1, -1, 1, -1)
_RIGHT = (3, 3, 0, 0, 0, 1, 3, 1), (2, 2, 1, 1, 3, 2, 0, 2), (1, -1, 1, -1, 1, 1, -1, -1)
# For `matrix`, row by row, with indices into the products of all elements of the quaternion (4 for y x, say):
_MATRIX = (5, 1, 2, 1, 0, 6, 2, 6, 0), (10, 11, 7, 11, 10, 3, 7, 3, 5), (1, -1, 1, 1, 1, -1, -1, 1, 1)


@cache
def _picks(which: tuple[tuple[int, ...], ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of all a and b in one row, and all s, copied to the device once."""
    first, second, sign = which
    return torch.tensor(first + second, device=device), torch.tensor(sign, dtype=torch.float32, device=device)


@cache
def _diagonal(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """1 on the diagonal of a matrix and 0 elsewhere, and -1 and 1 [9]."""
    ones = torch.eye(3, device=device).flatten()
    return ones, 1.0 - 2.0 * ones


def _sums(values: torch.Tensor, which: tuple[tuple[int, ...], ...]) -> torch.Tensor:
    indices, sign = _picks(which, values.device)
    first, second = values.index_select(-1, indices).chunk(2, dim=-1)
    return torch.addcmul(first, second, sign)


def multiply(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The rotation `second` and then `first` [..., 4]; both are [..., 4], of shapes that broadcast."""
    products = _sums(first, _LEFT) * _sums(second, _RIGHT)
    yy, zz, ww, rest = products[..., :4].split(1, dim=-1)
    xx = ww + yy + zz
    return 0.5 * (xx + rest) - torch.cat((xx, products[..., :3]), dim=-1) + products[..., 4:]


def matrix(rotation: torch.Tensor) -> torch.Tensor:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4]."""
    scale = 2.0 / (rotation * rotation).sum(dim=-1, keepdim=True)
    products = (rotation[..., :, None] * rotation[..., None, :]).flatten(-2)
    return torch.addcmul(*_diagonal(rotation.device), scale * _sums(products, _MATRIX)).unflatten(-1, (3, 3))


def yaw(rotation: torch.Tensor) -> torch.Tensor:
    """Turn about the vertical of quaternions [N, 4], as the last of three about fixed axes [N] [rad]."""
    x, y, z, w = rotation.unbind(dim=-1)
    return torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def about_vertical(angle: torch.Tensor) -> torch.Tensor:
    """Quaternions [N, 4] of turns by `angle` [N] [rad] about the vertical."""
    half = 0.5 * angle.double()
    zero = torch.zeros_like(half)
    return torch.stack((zero, zero, half.sin(), half.cos()), dim=-1).float()


def about(angle: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
    """Quaternions [N, 4] of turns by `angle` [N] [rad] about `axis` [N, 3], whose length does not matter.

    Worked out in double precision, so that it is rounded alike on every device.
    """
    half, axis = 0.5 * angle.double(), torch.nn.functional.normalize(axis.double(), dim=-1)
    return torch.cat((axis * half.sin()[..., None], half.cos()[..., None]), dim=-1).float()
