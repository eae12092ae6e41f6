"""Random numbers of episodes: counter-based, so that an episode draws the same whatever other rows do.

A number is a hash of what it is for: the seed, the row's identity, the number of the episode in that row, a name, and
its place in the draw. Nothing is remembered from draw to draw, so a CUDA graph can hold one.

The hash is SplitMix64's output function (Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195), applied once for
each part of the key. Integers of 64 bits wrap in torch as they do there.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch

_GAMMA = 0x9E3779B97F4A7C15
_MULTIPLY = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def _signed(word: int) -> int:
    """A 64-bit word as the number that torch has for it."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


def mix(x: torch.Tensor) -> torch.Tensor:
    """SplitMix64's output function of 64-bit words, in a long tensor of any shape."""
    for shift, factor in zip(_SHIFTS, (*_MULTIPLY, 1), strict=True):
        x = x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))  # torch's own shift keeps the sign
        if factor != 1:
            x = x * _signed(factor)
    return x


def words(name: str, count: int) -> np.ndarray:
    """`count` 64-bit words that belong to `name` [count] int64."""
    state = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return np.array([_signed(state + k * _GAMMA) for k in range(count)], dtype=np.int64)


def direction(angle: torch.Tensor) -> torch.Tensor:
    """Unit vectors [..., 2] at `angle` [...] [rad], in double precision first: so rounded alike on every device."""
    exact = angle.double()
    return torch.stack((exact.cos(), exact.sin()), dim=-1).float()


class Draws:
    """What the episodes of N rows draw.

    Attributes:
        episode: [N] long: number of the episode in each row, from 0 at a `seed`.
        step: [N] long: how many times `advance` was called in the episode.
    """

    def __init__(self, num_envs: int, device: torch.device) -> None:
        """Seed 0, rows 0 to N - 1."""
        self._device = device
        self.episode, self.step = torch.zeros(2, num_envs, dtype=torch.long, device=device).unbind()
        self._row = torch.arange(num_envs, device=device)
        self._key, self._root, self._now = (torch.zeros_like(self._row) for _ in range(3))
        self._names: dict[tuple[str, int], torch.Tensor] = {}
        self.seed(0, "")
        self.begin(torch.ones_like(self._row, dtype=torch.bool))

    def identify(self, rows: torch.Tensor) -> None:
        """Let row k draw as `rows[k]` [N] long says from the next `seed` on; two rows with one identity draw alike."""
        self._row.copy_(rows)

    def seed(self, seed: int, stream: str) -> None:
        """Start again: the next `begin` is of each row's first episode. `stream` parts what shares a seed."""
        key = mix(torch.tensor(_signed(seed)) + _signed(_GAMMA)) + int(words(stream, 1)[0])
        self._key.copy_(mix(mix(key).to(self._device) + self._row))
        self.episode.fill_(-1)
        self.step.zero_()

    def begin(self, rows: torch.Tensor) -> None:
        """The next episode begins in `rows` [N] bool."""
        self.episode.add_(rows)
        self.step.mul_(~rows)
        self._root.copy_(mix(self._key + self.episode * _signed(_GAMMA)))
        self._now.copy_(mix(self._root + self.step))

    def advance(self) -> None:
        """A control step begins: numbers that belong to a step are others from now on."""
        self.step.add_(1)
        self._now.copy_(mix(self._root + self.step))

    def _bits(self, name: str, count: int, of_step: bool) -> torch.Tensor:
        """Words [N, count]."""
        key = name, count
        if key not in self._names:
            self._names[key] = torch.from_numpy(words(name, count)).to(self._device)
        root = self._now if of_step else self._root
        return mix(root[:, None] + self._names[key])

    def uniform(self, name: str, *shape: int, of_step: bool = False) -> torch.Tensor:
        """Uniform draws [N, *shape] float32 from [0, 1), one per episode; with `of_step` one per control step."""
        bits = self._bits(name, math.prod(shape), of_step) >> 40 & (1 << 24) - 1
        return (bits.float() * 2.0**-24).view(-1, *shape)

    def within(self, name: str, *shape: int, of_step: bool = False) -> torch.Tensor:
        """As `uniform`, from [-1, 1)."""
        return self.uniform(name, *shape, of_step=of_step) * 2.0 - 1.0

    def normal(self, name: str, *shape: int, of_step: bool = False) -> torch.Tensor:
        """Standard normal draws [N, *shape] float32, one per episode; with `of_step` one per control step.

        By the inverse of the distribution function in double precision: rounded, it is the same on every device.
        """
        bits = self._bits(name, math.prod(shape), of_step) >> 12 & (1 << 52) - 1  # a half more is exact: never -1 nor 1
        draw = (bits.double() + 0.5) * 2.0**-51 - 1.0
        return (torch.erfinv(draw) * math.sqrt(2.0)).float().view(-1, *shape)

    def below(self, name: str, count: int | torch.Tensor) -> torch.Tensor:
        """Whole numbers [N] long, uniform from 0 to `count` - 1; `count` is a number or [N]."""
        return (self.uniform(name) * count).long()
