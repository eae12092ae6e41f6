"""CUDA graphs as a CPU has them: what a part returns is in the same tensors each time."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from tasks.cuda import graph, record


class FakeGraph:
    """See `tasks.cuda.record._Graph`."""

    def __init__(self, env: Any, part: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self._env, self._part, self._inputs = env, part, [x.clone() for x in inputs]
        self._kept: Any = None

    def __call__(self, *inputs: torch.Tensor) -> Any:
        for static, x in zip(self._inputs, inputs, strict=True):
            static.copy_(x)
        self._env._now = {}
        outputs = self._part(*self._inputs)
        found = outputs, self._env._now
        if self._kept is None:
            self._kept = found
        for kept, new in zip(_tensors(self._kept), _tensors(found), strict=True):
            if kept is not new:
                kept.copy_(new)
        self._env._now = self._kept[1].copy()
        return self._kept[0]


class Kept:
    """`tasks.cuda.graph.Graph` on a CPU, also as `baselines.tianshou.graphs.Repeated` comes to have it.

    Inputs are read from, and outputs are in, the same tensors each time.

    Attributes:
        made: how many there have been.
    """

    made = 0

    def __init__(self, function: Any, inputs: tuple[torch.Tensor, ...] | None = None) -> None:
        Kept.made += 1
        self._function = function
        self._inputs = None if inputs is None else [x.clone() for x in inputs]
        self._outputs: Any = None

    def __call__(self, *inputs: torch.Tensor) -> Any:
        if self._inputs is None:
            self._inputs = [x.clone() for x in inputs]
        for kept, x in zip(self._inputs, inputs, strict=True):
            kept.copy_(x)
        outputs = self._function(*self._inputs)
        if self._outputs is None:
            self._outputs = tree_map(torch.clone, outputs)
        for kept, x in zip(tree_leaves(self._outputs), tree_leaves(outputs), strict=True):
            kept.copy_(x)
        return self._outputs


def _tensors(found: tuple[Any, dict[Any, Any]]) -> list[torch.Tensor]:
    leaves = tree_leaves((found[0], list(found[1].values())))
    return [x for x in leaves if isinstance(x, torch.Tensor)]


def use() -> None:
    """Record on the CPU, too."""
    record._Graph, graph.Graph = FakeGraph, Kept
