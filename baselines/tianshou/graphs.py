"""What a training calls again and again, as CUDA graphs; see `tasks.cuda.graph`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from baselines.tianshou.batch import TensorBatch, tensor_batch
from tasks.core import fast
from tasks.cuda.graph import Graph, attempt

Outputs = tuple[torch.Tensor, ...]


class Recording:
    """`function(batch)` for batches of one shape on CUDA, and what it does to tensors besides, such as parameters."""

    def __init__(self, function: Callable[[TensorBatch], Outputs], batch: TensorBatch) -> None:
        """Record, which changes nothing; `batch` is only looked at for its shapes."""
        self._names = [name for name, x in batch.__dict__.items() if isinstance(x, torch.Tensor)]

        def recorded(*tensors: torch.Tensor) -> Outputs:
            return function(tensor_batch(**dict(zip(self._names, tensors, strict=True))))

        self._graph = Graph(recorded, self._of(batch))

    def __call__(self, batch: TensorBatch) -> Outputs:
        """What `function(batch)` would return."""
        return self._graph(*self._of(batch))

    def _of(self, batch: TensorBatch) -> list[torch.Tensor]:
        return [getattr(batch, name) for name in self._names]


class Repeated:
    """A function of tensors that is called again and again with equal shapes, on CUDA from its second call on a graph.

    What it returns is overwritten by the next call. See `tasks.cuda.graph.Graph` for what it may do; where that cannot
    be recorded it stays as it is.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Nothing has been called."""
        self._function, self._called = function, False
        self._graph: Callable[..., Any] | None = None

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """What `function(*inputs)` returns."""
        if self._graph:
            return self._graph(*inputs)
        if not self._called or not inputs[0].is_cuda or not fast.enabled():
            self._called = True
            return self._function(*inputs)
        self._graph = attempt(self._function, inputs)
        return self._graph(*inputs)


def on_a_side_stream(function: Callable[[], Outputs]) -> Outputs:
    """Call `function` on another stream than the current one: what it leaves behind must not belong to that."""
    side, current = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        outputs = function()
    current.wait_stream(side)
    return outputs


@contextmanager
def tensor_cores() -> Iterator[None]:
    """Let a GPU multiply float32 matrices with operands of 10 bits (TF32), as Isaac Lab's training scripts do.

    Not elsewhere: the task's rotations and inverse kinematics are products of matrices, too.
    """
    products = torch.backends.cuda.matmul
    before, products.allow_tf32 = products.allow_tf32, True
    try:
        yield
    finally:
        products.allow_tf32 = before
