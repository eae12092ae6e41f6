"""The unit cube of what a teacher moves, and its mapping to the difficulty and the factors of an env."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from curricula.config import LEVEL
from tasks.spec import Factor, TaskSpec, difficulty_of

if TYPE_CHECKING:
    from curricula.episodes import Episodes


class Space:
    """A point [D] has a coordinate in [0, 1] per moved parameter; a factor's goes over its widest training range.

    Attributes:
        axes: names of the D moved parameters, `difficulty` first if it is one of them.
        low, high: [D] what the coordinates 0 and 1 stand for, in the units of the parameters.
        origin: [D] the easiest point: difficulty 0 and nominal factors.
        hands_out_factors: whether `assign` returns factors too.
        device: where points live.
        task: its name.
        num_factors: how many factors the task declares.
        success_when: the task's rule, see `Episodes.success`.
    """

    def __init__(self, spec: TaskSpec, axes: Sequence[str], grade: str, level: str, device: str | torch.device) -> None:
        """`axes` are moved, factors in declared order; without `difficulty` among them it is that of `grade`.

        Factors that are not moved are drawn from their range at the randomisation `level`, and nominal without one.
        """
        self.axes, self.success_when = tuple(axes), spec.success_when
        self.task, self.num_factors = spec.name, len(spec.factors)
        self.device = device = torch.device(device)
        self._difficulty = difficulty_of(grade)
        factors = {factor.name: factor for factor in spec.factors}
        ranges = [(0.0, 1.0) if axis == "difficulty" else _widest(factors[axis]) for axis in axes]
        nominal = [0.0 if axis == "difficulty" else factors[axis].nominal for axis in axes]
        self.low, self.high = torch.tensor(ranges, device=device).reshape(-1, 2).unbind(1)
        self.origin = self.normalize(torch.tensor(nominal, device=device)).clamp(0.0, 1.0)
        moved = [i for i, factor in enumerate(spec.factors) if factor.name in axes]
        self._moved = torch.tensor(moved, dtype=torch.long, device=device)  # columns of `Episodes.factors`
        drawn = [factor.ranges.get(level, (factor.nominal, factor.nominal)) for factor in spec.factors]
        self._drawn_low, self._drawn_high = torch.tensor(drawn, device=device).reshape(-1, 2).unbind(1)
        # Where nothing moves a factor, factors are left to the env, which has them at nominal.
        self.hands_out_factors = bool(moved) or any(low != high for low, high in drawn)

    @property
    def dim(self) -> int:
        """The number of moved parameters, D."""
        return len(self.axes)

    def normalize(self, values: torch.Tensor) -> torch.Tensor:
        """Coordinates [k, D] of `values` [k, D] in the units of the parameters."""
        return (values - self.low) / (self.high - self.low)

    def values(self, points: torch.Tensor) -> torch.Tensor:
        """Values [k, D] in the units of the parameters, for coordinates [k, D]."""
        return self.low + points * (self.high - self.low)

    def assign(
        self, points: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """What `TensorEnv.set_sampler` asks for at `points` [k, D]: the difficulty [k], with factors if any move."""
        values = self.values(points)
        moves = self.axes[:1] == ("difficulty",)
        difficulty = values[:, 0] if moves else torch.full(points.shape[:1], self._difficulty, device=self.device)
        if not self.hands_out_factors:
            return difficulty
        draws = torch.rand(len(points), len(self._drawn_low), generator=generator, device=self.device)
        factors = self._drawn_low + draws * (self._drawn_high - self._drawn_low)
        if len(self._moved):
            factors[:, self._moved] = values[:, -len(self._moved) :]
        return difficulty, factors

    def points(self, episodes: Episodes) -> torch.Tensor:
        """Where `episodes` were: points [k, D]."""
        moves = self.axes[:1] == ("difficulty",)
        parts = [episodes.difficulty[:, None]] if moves else []
        if len(self._moved):
            parts.append(episodes.factors[:, self._moved])
        return self.normalize(torch.cat(parts, dim=1)).clamp(0.0, 1.0)


def _widest(factor: Factor) -> tuple[float, float]:
    """The range at the widest level, or what the others span."""
    if LEVEL in factor.ranges:
        return factor.ranges[LEVEL]
    lows, highs = zip(*factor.ranges.values(), strict=True)
    return min(lows), max(highs)
