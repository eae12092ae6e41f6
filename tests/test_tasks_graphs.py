"""CUDA graphs, on a GPU."""

import pytest
import torch

from tasks.graphs import Graph

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


def test_a_graph_does_what_the_function_does():
    count = torch.zeros(4, device="cuda")

    def counted(x):
        count.add_(x)
        return count * 2.0

    counted(torch.zeros(4, device="cuda"))
    graph = Graph(counted, [torch.ones(4, device="cuda")])
    assert count.tolist() == [0.0] * 4
    assert [graph(torch.full((4,), x, device="cuda"))[0].item() for x in (1.0, 2.0)] == [2.0, 6.0]


def test_after_a_capture_that_failed_random_numbers_go_on_as_they_would_have():
    torch.manual_seed(0)
    torch.rand(3, device="cuda")
    expected = torch.rand(3, device="cuda")
    torch.manual_seed(0)
    torch.rand(3, device="cuda")
    with pytest.raises(RuntimeError):
        Graph(lambda x: x.sum().item(), [torch.ones(4, device="cuda")])
    assert torch.equal(torch.rand(3, device="cuda"), expected)
