"""What a graph does around CUDA's own, with fakes of that, and what only a GPU can show."""

from contextlib import nullcontext

import pytest
import torch

from tasks.cuda import graph as graphs
from tasks.cuda.graph import Graph


class Played:
    """Stands for `torch.cuda.CUDAGraph`."""

    def __init__(self):
        self.times = 0

    def replay(self):
        self.times += 1


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Played)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **options: nullcontext())
    monkeypatch.setattr(torch.cuda, "default_generators", ["the first", "the second"])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)


def test_inputs_are_copied_to_where_the_graph_reads_them(cuda):
    given = torch.zeros(3)
    graph = Graph(lambda x, y: (x, x[:1] + y), [given, torch.zeros(1)])
    (read, _), other = graph(torch.full((3,), 5.0), torch.ones(1)), torch.full((3,), 7.0)
    assert read.tolist() == [5.0] * 3
    assert graph(other, torch.ones(1))[0] is read
    assert read.tolist() == [7.0] * 3
    assert graph._graph.times == 2
    assert given.tolist() == [0.0] * 3  # what was looked at for its shape is not written to


def test_a_capture_that_fails_releases_the_generator_and_says_why(cuda, monkeypatch):
    released = []
    monkeypatch.setattr(graphs, "_release", released.append)

    def broken(x):
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        Graph(broken, [torch.zeros(3)])
    assert released == ["the second"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch's generator of a GPU is what it is about")
def test_after_a_capture_that_failed_random_numbers_go_on_as_they_would_have():
    torch.manual_seed(0)
    torch.rand(3, device="cuda")
    expected = torch.rand(3, device="cuda")
    torch.manual_seed(0)
    torch.rand(3, device="cuda")
    with pytest.raises(RuntimeError):
        Graph(lambda x: x.sum().item(), [torch.ones(4, device="cuda")])
    assert torch.equal(torch.rand(3, device="cuda"), expected)
