"""The solver of the hand's inverse kinematics: against torch's own in double precision, and as a graph can hold it."""

import torch

from tasks.cuda import linear, record


def systems(count, least):
    """J Jᵀ + λ² I of arms like the Panda, the poses near a singularity included, and right sides of a step's size."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.nn.functional.normalize(torch.randn(count, 7, 3, generator=generator), dim=-1)
    axes[: count // 4, :, 0] *= 1e-3  # all joints turn about axes of one plane: no turn about its normal
    levers = 0.5 * torch.randn(count, 7, 3, generator=generator)
    jacobian = torch.cat((torch.linalg.cross(axes, levers), axes), dim=-1).transpose(1, 2)
    matrix = jacobian @ jacobian.transpose(1, 2) + least * torch.eye(6)
    return matrix, 0.05 * torch.randn(count, 6, generator=generator)


def test_solutions():
    matrix, right = systems(2000, 0.05**2)
    given = matrix.clone(), right.clone()
    solution = linear.solve(matrix, right)
    expected = torch.linalg.solve(matrix.double(), right.double())
    error = (solution - expected).norm(dim=-1) / expected.norm(dim=-1)
    usual = (torch.cholesky_solve(right[..., None], torch.linalg.cholesky(matrix))[..., 0] - expected).norm(dim=-1)
    assert error.max() < 1e-4
    assert error.median() < 2 * (usual / expected.norm(dim=-1)).median()  # as exact as torch's in single precision
    assert torch.equal(matrix, given[0])
    assert torch.equal(right, given[1])


def test_a_graph_can_hold_it():
    matrix, right = systems(4, 0.05**2)
    with record.Look((matrix, right)) as look:
        linear.solve(matrix, right)
    assert look.trouble is None
