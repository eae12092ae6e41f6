"""The same function on many things, on all cores once there are enough of them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

CHUNK = 100


def each(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], threshold: int) -> Iterator[Any]:
    """Results of `function(*arguments[i])`, in order; in processes where there are `threshold` of them or more.

    `function` has to be importable by name. What it raises is raised here.
    """
    cores = len(os.sched_getaffinity(0))
    if len(arguments) < threshold or cores == 1:
        yield from (function(*item) for item in arguments)
        return
    # Started afresh, not forked: pyarrow's threads do not survive a fork.
    context = multiprocessing.get_context("forkserver")
    chunks = [(function, arguments[i : i + CHUNK]) for i in range(0, len(arguments), CHUNK)]
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        for results in pool.map(_chunk, chunks):
            yield from results


def _chunk(task: tuple[Callable[..., Any], Sequence[tuple[Any, ...]]]) -> list[Any]:
    function, arguments = task
    return [function(*item) for item in arguments]
