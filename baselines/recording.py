"""A function of a batch as a CUDA graph.

An update of small networks is hundreds of kernels of some microseconds each, which a GPU does sooner than a host can
ask for them. Recorded once, they are asked for together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from baselines.batch import TensorBatch, tensor_batch

Outputs = tuple[torch.Tensor, ...]


class Recording:
    """`function(batch)` for batches of one shape on CUDA, and what it does to tensors besides, such as parameters.

    The function has run before, so that all it needs is loaded; it never waits for the device, and what it makes
    depends on numbers of the host as they are now. Outputs are overwritten by the next call.
    """

    def __init__(self, function: Callable[[TensorBatch], Outputs], batch: TensorBatch) -> None:
        """Record, which changes nothing; `batch` is only looked at for its shapes."""
        self._batch = tensor_batch(**{name: x.clone() for name, x in _tensors(batch).items()})
        self._graph = torch.cuda.CUDAGraph()
        # Threads of a simulator may ask for the state of the device meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = function(self._batch)

    def __call__(self, batch: TensorBatch) -> Outputs:
        """What `function(batch)` would return."""
        for name, x in _tensors(batch).items():
            getattr(self._batch, name).copy_(x)
        self._graph.replay()
        return self._outputs


def on_a_side_stream(function: Callable[[], Outputs]) -> Outputs:
    """Call `function` on another stream than the current one: what it leaves behind must not belong to that."""
    side, current = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        outputs = function()
    current.wait_stream(side)
    return outputs


def _tensors(batch: TensorBatch) -> dict[str, torch.Tensor]:
    return {name: x for name, x in batch.__dict__.items() if isinstance(x, torch.Tensor)}
