"""The rule of success, which a task declares as `TaskSpec.success_when`. It stands here alone."""

from __future__ import annotations

from typing import Literal

When = Literal["once", "end"]


def at_any_time(when: str) -> bool:
    """Whether success at any step counts; else it is that of an episode's last step."""
    return when == "once"


def succeeded[T](once: T, at_end: T, when: str) -> T:
    """Did episodes succeed? `once`: at any step, `at_end`: at the last one; bools, or arrays or tensors of them."""
    return once if at_any_time(when) else at_end
