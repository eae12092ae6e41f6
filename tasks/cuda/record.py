"""Parts of an env step as CUDA graphs.

A graph (`tasks.cuda.graph`) knows addresses and numbers, so a part can only be recorded if it does the same to the same
tensors each time. That is looked at before, operation by operation, and a part of which it is not true stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import warp
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from tasks.core.env_state import EnvState
from tasks.cuda.graph import Graph, attempt

LOOKS = 4
"""Calls that are looked at before a part is recorded; what it reads from the scene is found in the first."""

_LINALG = ("cholesky", "eig", "inv", "ldl", "lu", "pinv", "qr", "solve", "svd")
_SOLVERS = *(f"aten.linalg_{x}" for x in _LINALG), "aten._linalg_", "aten.cholesky", "aten.lu_", "aten.triangular_solve"
_LAUNCHES = (warp.launch.__code__, warp.Launch.launch.__code__)
_TOOL = 4  # of `sys.monitoring`, which has no name for it: a `Look` sees Warp's launches, but no operation of torch
_WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.is_nonzero", "aten.equal.")


def prepare() -> None:
    """Let TorchScript fuse nothing in this process; called before what it compiles (Isaac Lab's rotations) first runs.

    On a GPU a fused kernel is out of the sight of a `Look`.
    """
    torch.jit.set_fusion_strategy([("STATIC", 0), ("DYNAMIC", 0)])


class Recorded:
    """A part of an env's step, on CUDA from call `LOOKS + 1` on as a graph.

    The part is a function of tensors, whose shapes never change, and of the env. What it returns, and what it leaves in
    attributes, is overwritten by its next call. Quantities that Isaac Lab computes when they are asked for are asked
    for before: whether they are up to date is decided on the host.

    Attributes:
        why_not: what a graph could not hold, once that is known; the part is called as it is from then on.
    """

    def __init__(self, env: EnvState, part: Callable[..., Any]) -> None:
        """Nothing has been looked at."""
        self._env, self._part = env, part
        self._asked: dict[tuple[int, str], tuple[Any, str]] = {}
        self._looks = 0
        self._before: Look | None = None
        self._graph: _Graph | None = None
        self.why_not: str | None = None

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """What the part returns."""
        if self.why_not:
            return self._part(*inputs)
        self._fetch()
        if self._graph:
            return self._graph(*inputs)
        if self._looks < LOOKS:
            return self._look(*inputs)
        try:
            self._graph, self._before = _Graph(self._env, self._part, inputs), None
        except RuntimeError as error:  # of the capture, which has changed nothing
            self._give_up(str(error).partition("\n")[0])
            return self._part(*inputs)
        return self._graph(*inputs)

    def _fetch(self) -> None:
        for owner, name in self._asked.values():
            quantity = getattr(owner, name)
            getattr(quantity, "torch", None)  # which is made at its first use

    def _look(self, *inputs: torch.Tensor) -> Any:
        self._looks += 1
        self._env._now.clear()  # a graph has to compute what others have computed in this state, too
        if self._looks == 1:
            with asking(self._env.scene, self._asked):
                return self._part(*inputs)
        look = Look(inputs)
        with look:
            outputs = self._part(*inputs)
        trouble = look.trouble or (self._before and difference(self._before.trace, look.trace))
        self._before = look
        if trouble:
            self._give_up(trouble)
        return outputs

    def _give_up(self, why: str) -> None:
        self.why_not, self._before = why, None
        print(f"{self._part.__qualname__} is not recorded as a CUDA graph: {why}", file=sys.stderr, flush=True)


class EachRow:
    """What every row begins an episode with, such as a start state, picked for the rows that begin one.

    How many rows begin changes from step to step, which no graph can follow. So all rows are computed, on CUDA as one
    graph from the second call after `GradedEnv.record` on, and those that begin are picked.
    """

    def __init__(self, env: EnvState, function: Callable[..., Any], *args: Any) -> None:
        """`function(env, *args)` gives tensors of all rows [N, ...].

        It computes them from `env.draws`, the grade's parameters and constants, row by row, and waits for nothing.
        """
        self._env, self._function, self._args = env, function, args
        self._called = False
        self._graph: Callable[[], Any] | None = None

    def __call__(self, rows: torch.Tensor) -> Any:
        """What belongs to `rows` [k] long: as the function's, of [k, ...]."""
        if self._graph is None and self._called and self._env.recording:
            self._graph = attempt(self._all, ())
        found = (self._graph or self._all)()
        self._called = True  # what has to be loaded for a recording is loaded by then
        return tree_map(lambda x: x.index_select(0, rows), found)

    def _all(self) -> Any:
        return self._function(self._env, *self._args)


def starts(env: EnvState, env_ids: torch.Tensor, function: Callable[..., Any], *args: Any) -> Any:
    """`function(env, *args)` of all rows [N, ...] for rows `env_ids` [k], see `EachRow`."""
    return env.once(EachRow, function, *args)(env.rows(env_ids))


class _Graph:
    """A part, recorded."""

    def __init__(self, env: EnvState, part: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> None:
        """Record, which computes nothing."""
        self._env = env
        env._now = self._now = {}
        self._graph = Graph(part, inputs)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """What the part would return, and what it would leave in `GradedEnv.now`."""
        outputs = self._graph(*inputs)
        self._env._now = self._now.copy()
        return outputs


@contextmanager
def asking(scene: Any, asked: dict[tuple[int, str], tuple[Any, str]]) -> Iterator[None]:
    """Note in `asked` which quantities are asked of the scene's parts: (part, name) by the part's id and the name."""
    parts = [*scene.articulations.values(), *scene.rigid_objects.values(), *scene.rigid_object_collections.values()]
    with ExitStack() as stack:
        for owner in (*(part.data for part in parts), *scene.sensors.values()):
            kind = type(owner)
            owner.__class__ = _asking(kind, asked)
            stack.callback(setattr, owner, "__class__", kind)
        yield


def _asking(kind: type, asked: dict[tuple[int, str], tuple[Any, str]]) -> type:
    class Asking(kind):
        def __getattribute__(self, name: str) -> Any:
            if isinstance(getattr(kind, name, None), property):
                asked.setdefault((id(self), name), (self, name))
            return super().__getattribute__(name)

    return Asking


class Look(TorchDispatchMode):
    """What is done while it is entered, in a form that can be compared with what is done another time.

    Attributes:
        trace: every operation with its arguments. Tensors are told by what a graph knows of them: those from outside by
            their address, those made within by their number.
        trouble: the first thing that a graph cannot hold, or None.
    """

    def __init__(self, inputs: tuple[torch.Tensor, ...] = ()) -> None:
        """`inputs` may be others each time."""
        super().__init__()
        self.trace: list[Any] = []
        self.trouble: str | None = None
        self._numbers: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # so that no address is used twice, also by what replaces a tensor
        for x in inputs:
            self._number(x)

    def __enter__(self) -> Look:
        """See the class."""
        watch = sys.monitoring
        watch.use_tool_id(_TOOL, "gradus")
        watch.register_callback(_TOOL, watch.events.PY_START, self._launched)
        for code in _LAUNCHES:
            watch.set_local_events(_TOOL, code, watch.events.PY_START)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """See the class."""
        super().__exit__(*error)
        for code in _LAUNCHES:
            sys.monitoring.set_local_events(_TOOL, code, sys.monitoring.events.NO_EVENTS)
        sys.monitoring.free_tool_id(_TOOL)

    def _launched(self, *_: Any) -> None:
        self._note("a kernel of Warp's is launched")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note and do it."""
        kwargs = kwargs or {}
        if why := _unfit(function, args):
            self._note(f"{why} ({function})")
        self.trace.append((str(function), tree_map(self._told, (args, kwargs))))
        outputs = function(*args, **kwargs)
        for x in tree_leaves(outputs):
            if isinstance(x, torch.Tensor):
                self._made(x, (*args, *kwargs.values()))
        return outputs

    def _note(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble

    def _made(self, x: torch.Tensor, arguments: Any) -> None:
        given = (a for a in tree_leaves(arguments) if isinstance(a, torch.Tensor))
        if not any(_address(a) == _address(x) for a in given):  # neither changed in place nor another view
            self._number(x)

    def _number(self, x: torch.Tensor) -> None:
        self._numbers.setdefault(_address(x), len(self._numbers))
        self._alive.append(x)

    def _told(self, x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        self._alive.append(x)
        where = self._numbers.get(_address(x), ("outside", x.data_ptr()))
        return where, x.storage_offset(), tuple(x.shape), x.stride(), x.dtype


def _address(x: torch.Tensor) -> int:
    return x.untyped_storage()._cdata


def _unfit(function: Any, args: Any) -> str | None:
    name, given = str(function), [a for a in tree_leaves(args) if isinstance(a, torch.Tensor)]
    if torch.Tag.nondeterministic_seeded in function.tags:
        return "random numbers are drawn"
    if name.startswith(_WAITS) or (name.startswith("aten.index") and any(map(_is_mask, args))):
        return "the host waits for the device"
    if name.startswith(_SOLVERS):
        return "a solver is called, whose memory is not the graph's"
    if name.startswith("aten.lift_fresh") or (name.startswith("aten.copy_") and _is_number(args[1], args[0])):
        return "numbers are brought from the host"
    if len({a.device for a in given if a.dim()}) > 1:
        return "tensors are brought from another device"
    return None


def _is_mask(indices: Any) -> bool:
    given = indices if isinstance(indices, (list, tuple)) else ()
    return any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in given)


def _is_number(source: torch.Tensor, target: torch.Tensor) -> bool:
    return source.dim() == 0 < target.dim() and source.device.type == "cpu"


def difference(one: list[Any], other: list[Any]) -> str | None:
    """Where two traces part, or None."""
    for (name, arguments), (other_name, other_arguments) in zip(one, other, strict=False):
        if name != other_name:
            return f"what is computed changes, from {name} to {other_name}"
        if arguments != other_arguments:
            return f"what {name} is given is replaced by another tensor or number"
    return None if len(one) == len(other) else f"{abs(len(one) - len(other))} operations more or fewer than before"
