"""The same function on many things, on all cores once there are enough of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

from suite.execute import devices

CHUNK = 50


def each(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], threshold: int) -> Iterator[Any]:
    """Results of `function(*arguments[i])`, in order; in processes where there are `threshold` of them or more.

    Processes begin at once and go on while their results are waited for. `function` has to be importable by name. What
    it raises is raised where its result is asked for.
    """
    if len(arguments) < threshold or devices.cores() == 1:
        return (function(*item) for item in arguments)
    chunks = [arguments[i : i + CHUNK] for i in range(0, len(arguments), CHUNK)]
    futures = [_pool().submit(_chunk, function, chunk) for chunk in chunks]
    return (result for future in futures for result in future.result())


@cache
def _pool() -> ProcessPoolExecutor:
    """Processes that live as long as this one. They are not forked from it: pyarrow's threads do not survive that."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["leaderboard.site.render"])  # imports nearly all that they need
    return ProcessPoolExecutor(devices.cores(), mp_context=context)


def _chunk(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [function(*item) for item in arguments]
