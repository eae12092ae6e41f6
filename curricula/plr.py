"""`plr`: a fixed set of levels, replayed by how much can be learned from them."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch.quasirandom import SobolEngine

from curricula.space import Space
from curricula.teacher import Teacher, draw

SAME = 1e-4
"""Distance, of the whole range, up to which an episode was at a level."""


class LevelReplay(Teacher):
    """Prioritised level replay (Jiang et al. 2021, arXiv:2010.03934) scored by learnability.

    A level is one of `levels` points that cover the parameter space evenly. As long as some were never played, one of
    those is drawn with a probability equal to their share; else a level is drawn by the rank of its score, mixed with
    how long ago it was played (the paper's equations 1 to 3).

    What differs from the paper: the score is p (1 - p) for a success rate p, which Rutherford et al. 2024
    (arXiv:2408.15099) found to say more than the advantage's magnitude, and which every algorithm has; p forgets, by
    `memory` an episode. Levels are drawn for thousands of envs at a time, hence a temperature that spreads them.
    """

    kept = ("levels", "successes", "episodes", "played", "seen", "update_count", "replay", "unseen")

    def __init__(self, space: Space, cfg: DictConfig, num_envs: int, seed: int) -> None:
        """Draw the levels."""
        super().__init__(space, cfg, num_envs, seed)
        device = space.device
        self.levels = SobolEngine(space.dim, scramble=True, seed=seed).draw(cfg.levels).to(device)
        # Forgetful counts, the update at which a level was last played, and whether it ever was.
        self.successes, self.episodes, self.played, self.seen = torch.zeros(4, cfg.levels, device=device).unbind()
        self.update_count = 0
        self.replay = self.unseen = torch.ones(cfg.levels, device=device).cumsum(0)  # cumulative weights

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """See `Teacher.propose`."""
        k = len(env_ids)
        replayed, new = draw(self.replay, self.rand(k)), draw(self.unseen, self.rand(k))
        return self.levels[torch.where(self.rand(k) < self.seen.mean(), replayed, new)]

    def learn(self, points: torch.Tensor, success: torch.Tensor, env_ids: torch.Tensor) -> None:
        """See `Teacher.learn`."""
        exact = "donot_use_mm_for_euclid_dist"  # the other way is off by more than `SAME`
        distance, level = torch.cdist(points, self.levels, compute_mode=exact).min(dim=1)
        known = (distance < SAME).to(success.dtype)
        count = torch.zeros_like(self.episodes).index_add_(0, level, known)
        self.update_count += 1
        forget = self.cfg.memory**count
        self.episodes = forget * self.episodes + count
        self.successes = forget * self.successes + torch.zeros_like(count).index_add_(0, level, success * known)
        self.played = torch.where(count > 0, float(self.update_count), self.played)
        self.seen = self.seen.maximum((count > 0).float())

        staleness = (self.update_count - self.played) * self.seen
        by_staleness = staleness / staleness.sum().clamp(min=1.0)
        # Ties go by chance: with levels of equal score the first ones would be preferred for ever.
        order = (self.score() + 1e-6 * self.rand(len(self.levels)) - 2.0 * (1.0 - self.seen)).argsort(descending=True)
        rank = torch.empty_like(staleness).index_copy_(0, order, torch.arange(1.0, len(order) + 1, device=order.device))
        by_rank = rank ** (-1.0 / self.cfg.temperature) * self.seen
        by_rank = by_rank / by_rank.sum().clamp(min=1e-9)
        weights = torch.where(staleness.sum() > 0, self.cfg.staleness, 0.0) * (by_staleness - by_rank) + by_rank
        self.replay = weights.cumsum(0)
        self.unseen = (1.0 - self.seen).cumsum(0)

    def score(self) -> torch.Tensor:
        """p (1 - p) of every level, 0 where it was never played."""
        rate = self.successes / self.episodes.clamp(min=1e-9)
        return rate * (1.0 - rate)

    def report(self) -> dict[str, float]:
        """See `Teacher.report`."""
        score, seen = torch.stack((self.score().mean(), self.seen.mean())).tolist()
        return {"score_mean": score, "levels_seen": seen}
