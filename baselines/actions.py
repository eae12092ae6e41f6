"""The one place where an agent's choice becomes an action of the env, in [-1, 1]."""

from __future__ import annotations

import torch


def to_env(act: torch.Tensor, table: torch.Tensor | None) -> torch.Tensor:
    """Actions [N, A] in [-1, 1] from act [N, A], or from indices [N] into the discrete actions `table` [K, A]."""
    return (act if table is None else table[act]).clamp(-1.0, 1.0)
