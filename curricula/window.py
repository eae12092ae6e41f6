"""The latest episodes of a training, and success estimated from neighbours among them."""

from __future__ import annotations

from typing import Any

import torch


class Window:
    """Points [k, D] and success [k] of the latest `size` episodes.

    Attributes:
        count: episodes taken in so far.
    """

    def __init__(self, size: int, dim: int, device: torch.device) -> None:
        self._points = torch.zeros(size, dim, device=device)
        self._success = torch.zeros(size, device=device)
        self.count = 0

    def add(self, points: torch.Tensor, success: torch.Tensor) -> None:
        """Take in episodes in the order of time."""
        size = len(self._success)
        points, success = points[-size:], success[-size:]
        rows = (self.count + torch.arange(len(success), device=success.device)) % size
        self._points[rows], self._success[rows] = points, success
        self.count += len(success)

    def latest(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Points and success, oldest first."""
        size = len(self._success)
        if self.count < size:
            return self._points[: self.count], self._success[: self.count]
        shift = -(self.count % size)
        return self._points.roll(shift, 0), self._success.roll(shift, 0)

    def state_dict(self) -> dict[str, Any]:
        """The points, the successes and their count."""
        return {"points": self._points.clone(), "success": self._success.clone(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self._points.copy_(state["points"])
        self._success.copy_(state["success"])
        self.count = state["count"]


def success_near(queries: torch.Tensor, points: torch.Tensor, success: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Mean success [q] of the `neighbours` points [n, D] nearest to each of `queries` [q, D]; n is at least that."""
    nearest = torch.cdist(queries, points).topk(neighbours, dim=1, largest=False, sorted=False).indices
    return success[nearest].mean(dim=1)
