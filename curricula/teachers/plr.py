"""`plr`: a fixed set of levels, replayed by how much can be learned from them."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch.quasirandom import SobolEngine

from curricula.episodes import Episodes
from curricula.space import Space
from curricula.teacher import Teacher, draw

SAME = 1e-4
"""Distance, of the whole range, up to which an episode was at a level."""


class LevelReplay(Teacher):
    """Prioritised level replay (Jiang et al. 2021, arXiv:2010.03934), scored by learnability or by advantage.

    A level is one of `levels` points that cover the parameter space evenly. As long as some were never played, one of
    those is drawn with a probability equal to their share; else a level is drawn by the rank of its score, mixed with
    how long ago it was played (the paper's equations 1 to 3).

    The paper's score is `advantage`: the mean magnitude of the generalised advantage over an episode (its section 3.1,
    "L1 value loss"), which on-policy algorithms alone know. `learnability` is p (1 - p) for a success rate p, which
    Rutherford et al. 2024 (arXiv:2408.15099) found to say more, and which every algorithm has.

    What differs from the paper: either is a mean over the episodes of a level, the older ones forgotten by `memory` an
    episode, and not that of the latest one. Levels are drawn for thousands of envs at a time, hence a temperature that
    spreads them.
    """

    kept = ("levels", "total", "episodes", "played", "seen", "update_count", "replay", "unseen")

    def __init__(self, space: Space, cfg: DictConfig, num_envs: int, seed: int) -> None:
        super().__init__(space, cfg, num_envs, seed)
        device = space.device
        self.levels = SobolEngine(space.dim, scramble=True, seed=seed).draw(cfg.levels).to(device)
        # A forgetful sum of success or advantage and its weight, the update at which a level was last played, and
        # whether it ever was.
        self.total, self.episodes, self.played, self.seen = torch.zeros(4, cfg.levels, device=device).unbind()
        self.update_count = 0
        self.replay = self.unseen = torch.ones(cfg.levels, device=device).cumsum(0)  # cumulative weights

    def propose(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Draw levels [k, D]: a new one with the probability of their share, else one by score and staleness."""
        k = len(env_ids)
        replayed, new = draw(self.replay, self.rand(k)), draw(self.unseen, self.rand(k))
        return self.levels[torch.where(self.rand(k) < self.seen.mean(), replayed, new)]

    def outcome(self, episodes: Episodes) -> torch.Tensor:
        """The mean absolute advantage of each episode [k] where that is the score, else its success."""
        if not self.needs_advantage:
            return super().outcome(episodes)
        assert episodes.advantage is not None  # `make_learner` refuses an algorithm without
        return episodes.advantage

    def learn(self, points: torch.Tensor, success: torch.Tensor, env_ids: torch.Tensor) -> None:
        """Update the scores of the levels that were played, and the weights by which levels are drawn."""
        exact = "donot_use_mm_for_euclid_dist"  # the other way is off by more than `SAME`
        distance, level = torch.cdist(points, self.levels, compute_mode=exact).min(dim=1)
        known = (distance < SAME).to(success.dtype)
        count = torch.zeros_like(self.episodes).index_add_(0, level, known)
        self.update_count += 1
        forget = self.cfg.memory**count
        self.episodes = forget * self.episodes + count
        self.total = forget * self.total + torch.zeros_like(count).index_add_(0, level, success * known)
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
        """How much can be learned from every level [levels], 0 where it was never played."""
        mean = self.total / self.episodes.clamp(min=1e-9)
        return mean if self.needs_advantage else mean * (1.0 - mean)

    def report(self) -> dict[str, float]:
        """The mean score of all levels, and the share of them that was played."""
        score, seen = torch.stack((self.score().mean(), self.seen.mean())).tolist()
        return {"score_mean": score, "levels_seen": seen}
