"""What can go wrong in a training, apart from a checkpoint that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 8  # env ids that a message lists


class NonFiniteError(RuntimeError):
    """A NaN or an infinity turned up.

    Attributes:
        step: env steps of the training at which it was seen.
        env_ids: rows of the batch that have it; empty where the tensor has no rows (a loss, a parameter).
        tensor: the tensor's name.
    """

    def __init__(self, step: int, env_ids: Sequence[int], tensor: str) -> None:
        """Keep the three and say them in one line."""
        self.step, self.env_ids, self.tensor = step, list(env_ids), tensor
        ids = ", ".join(map(str, self.env_ids[:_SHOWN]))
        more = f" and {len(self.env_ids) - _SHOWN} more" if len(self.env_ids) > _SHOWN else ""
        where = f" in env {ids}{more}" if self.env_ids else ""
        super().__init__(f"{tensor} is NaN or infinite at env step {step}{where}; the last checkpoint is unaffected")


class BufferTooLargeError(ValueError):
    """The replay buffer would not fit in the device's memory."""
