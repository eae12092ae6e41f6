"""Running standardisation of observations."""

from __future__ import annotations

import torch
from torch import nn

CLIP = 10.0  # standard deviations


class ObsNormalizer(nn.Module):
    """`(obs - mean) / (std + 0.01)`, clipped to ±10; the identity (but for the clip) before the first `update`.

    It stands outside the networks, because a target network copies parameters but not buffers. The 0.01 keeps
    noise in an almost constant observation from being blown up. Statistics merge as in Chan, Golub and LeVeque,
    "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
    """

    def __init__(self, obs_dim: int) -> None:
        """Start with no observation seen."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(obs_dim, dtype=torch.float64))
        self.register_buffer("var", torch.ones(obs_dim, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self._applied: tuple[object, ...] = ()  # the statistics as `forward` needs them, after what they are good for

    @torch.no_grad()
    def update(self, obs: torch.Tensor) -> None:
        """Take in obs [..., obs_dim]."""
        obs = obs.reshape(-1, obs.shape[-1]).double()
        total = self.count + len(obs)
        share = len(obs) / total
        shift = obs.mean(0) - self.mean
        var = self.var * (1 - share) + obs.var(0, unbiased=False) * share + shift.square() * share * (1 - share)
        self.mean.add_(shift * share)
        self.var.copy_(var)
        self.count.copy_(total)

    def scale(self) -> torch.Tensor:
        """What a centred observation is multiplied by [obs_dim]."""
        return 1.0 / (self.var.sqrt() + 1e-2)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Standardise obs [..., obs_dim]."""
        if _captured(obs):  # a graph has to find the statistics as they will be
            mean, scale = self._in(obs.dtype)
        else:
            state = (obs.dtype, id(self.mean), self.mean._version, id(self.var), self.var._version)
            if self._applied[:1] != (state,):
                self._applied = state, *self._in(obs.dtype)
            _, mean, scale = self._applied
        return ((obs - mean) * scale).clamp(-CLIP, CLIP)

    def _in(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mean.to(dtype), self.scale().to(dtype)


def _captured(x: torch.Tensor) -> bool:
    return x.is_cuda and torch.cuda.is_current_stream_capturing()
