"""`staged`: every env has a stage of its own, and climbs or falls by the success of its latest episodes."""

from __future__ import annotations

import torch
from omegaconf import DictConfig

from curricula.space import Space
from curricula.teacher import Teacher

MAX_PATIENCE = 16
"""Good windows that an env may need at most before it climbs again."""


class Staged(Teacher):
    """The game-inspired curriculum of Rudin et al. 2022 (arXiv:2109.11978, section 3.2), judged by success.

    A stage is the difficulty itself; a factor is drawn uniformly from the share `stage` of its way from nominal to
    either end of its range. What differs from the paper: success in a window of episodes decides, not the distance
    walked in one; between `demote` and `promote` an env stays; one that masters the last stage stays there instead of
    being sent to a random one. And where success jumps from all to nothing between two stages, an env would go back
    and forth for ever: each fall therefore doubles the number of good windows it needs in a row to climb (up to
    `MAX_PATIENCE`), until it is good at a stage that it climbed to.
    """

    kept = ("stage", "episodes", "successes", "good", "patience", "climbed", "stale")
    by_env = True

    def __init__(self, space: Space, cfg: DictConfig, num_envs: int, seed: int) -> None:
        super().__init__(space, cfg, num_envs, seed)
        device = space.device
        self.stage, self.episodes, self.successes, self.good = torch.zeros(4, num_envs, device=device).unbind()
        self.patience = torch.ones(num_envs, device=device)
        self.climbed = torch.ones(num_envs, dtype=torch.bool, device=device)  # the last move was not a fall
        self.stale = torch.zeros(num_envs, dtype=torch.bool, device=device)  # runs an episode of the stage before

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """The difficulty of each env's stage, and factors drawn within the share `stage` of their ranges [k, D]."""
        stage = self.stage[env_ids][:, None]
        points = self.space.origin + stage * (self.rand(len(env_ids), self.space.dim) - self.space.origin)
        if self.space.axes[0] == "difficulty":
            points[:, :1] = stage
        return points

    def learn(self, points: torch.Tensor, success: torch.Tensor, env_ids: torch.Tensor) -> None:
        """Count the episodes of each env, and move its stage after a full window of them."""
        order = torch.arange(len(env_ids), device=env_ids.device)
        first = torch.full_like(self.stale, len(env_ids), dtype=torch.long)
        first.scatter_reduce_(0, env_ids, order, "amin")
        counts = (~(self.stale[env_ids] & (first[env_ids] == order))).to(success.dtype)
        self.stale &= first == len(env_ids)
        self.episodes.index_add_(0, env_ids, counts)
        self.successes.index_add_(0, env_ids, success * counts)

        cfg = self.cfg
        judged = self.episodes >= cfg.window
        rate = self.successes / self.episodes.clamp(min=1.0)
        good, bad = judged & (rate >= cfg.promote), judged & (rate <= cfg.demote)
        self.good = torch.where(judged, torch.where(good, self.good + 1.0, 0.0), self.good)
        self.patience = torch.where(good & self.climbed, 1.0, self.patience)
        up = judged & (self.good >= self.patience) & (self.stage < 1.0)
        down = bad & (self.stage > 0.0)
        self.patience = torch.where(down, (2.0 * self.patience).clamp(max=MAX_PATIENCE), self.patience)
        self.climbed = (self.climbed | up) & ~down
        self.stage = (self.stage + cfg.step * (up.float() - down.float())).clamp(0.0, 1.0)
        changed = up | down
        self.stale |= changed
        self.good = self.good.masked_fill(changed, 0.0)
        self.episodes = self.episodes.masked_fill(judged, 0.0)
        self.successes = self.successes.masked_fill(judged, 0.0)

    def report(self) -> dict[str, float]:
        """The lowest, the mean and the highest stage of all envs."""
        low, mean, high = torch.stack((self.stage.min(), self.stage.mean(), self.stage.max())).tolist()
        return {"stage_min": low, "stage_mean": mean, "stage_max": high}
