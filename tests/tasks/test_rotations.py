"""Rotations are to the last bit those of Isaac Lab, on the CPU and without an engine."""

import isaaclab.utils.math as lab
import torch

from tasks.cuda import rotations


def quaternions(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(*shape, 4, generator=generator), dim=-1)


def test_products():
    first, second = quaternions(2, 500)
    assert torch.equal(rotations.multiply(first, second), lab.quat_mul(first, second))
    assert torch.equal(rotations.multiply(first, second[0]), lab.quat_mul(first, second[:1].expand(500, 4)))


def test_matrices():
    links = quaternions(50, 7)
    assert torch.equal(rotations.matrix(links), lab.matrix_from_quat(links))


def test_turns_about_the_vertical():
    rotation = quaternions(500)
    yaw = rotations.yaw(rotation)
    assert torch.equal(yaw, lab.euler_xyz_from_quat(rotation)[2])
    zero = torch.zeros_like(yaw)
    # In double precision, so that it is the same on every device: no rounding error of Isaac Lab's is repeated.
    assert torch.allclose(rotations.about_vertical(yaw), lab.quat_from_euler_xyz(zero, zero, yaw), atol=2e-7)


def test_turns_about_any_axis():
    axis, angle = torch.randn(500, 3), torch.randn(500)
    expected = lab.quat_from_angle_axis(angle, torch.nn.functional.normalize(axis, dim=-1))
    assert torch.allclose(rotations.about(angle, axis), expected, atol=2e-7)
