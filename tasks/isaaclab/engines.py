"""Old place of `tasks.core.engines`."""

from __future__ import annotations

from typing import Any

from tasks.core import engines


def __getattr__(name: str) -> Any:
    if name == "ENGINES":
        return tuple(engines.names())
    return getattr(engines, name)
