"""A function of tensors as a CUDA graph.

Small networks and the terms of a task are hundreds of operations of some microseconds each, which a GPU does sooner
than a host can ask for them. Recorded once, they are asked for together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch


class Graph:
    """`function(*inputs)` for inputs of one shape on CUDA, and what it does to other tensors besides.

    The function has run before, so that all it needs is loaded; it never waits for the device, and what depends on
    numbers of the host stays as it is now. Outputs are overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> None:
        """Record, which computes nothing; of `inputs` only the shapes matter.

        Raises `RuntimeError` where that cannot be done.
        """
        self._inputs = [x.clone() for x in inputs]
        self._graph = torch.cuda.CUDAGraph()
        try:
            # Threads of a simulator may ask for the state of the device meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._outputs = function(*self._inputs)
        except RuntimeError:
            _release(torch.cuda.default_generators[torch.cuda.current_device()])
            raise

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """What `function(*inputs)` would return."""
        for static, x in zip(self._inputs, inputs, strict=True):
            static.copy_(x)
        self._graph.replay()
        return self._outputs


def attempt(function: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> Callable[..., Any]:
    """`Graph(function, inputs)`, or, with a line about why, the function itself where no graph can be made."""
    try:
        return Graph(function, inputs)
    except RuntimeError as error:  # of the capture, which has changed nothing
        why = str(error).partition("\n")[0]
        print(f"{function.__qualname__} is not recorded as a CUDA graph: {why}", file=sys.stderr, flush=True)
        return function


def _release(generator: torch.Generator) -> None:
    """Let `generator` draw again after a capture that failed (torch 2.11 takes it for a part of that ever after)."""
    fresh = torch.Generator(generator.device)
    fresh.set_state(generator.get_state())
    generator.graphsafe_set_state(fresh.graphsafe_get_state())
