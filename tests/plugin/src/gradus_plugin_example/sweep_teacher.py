"""The teacher of the curriculum sweep."""

import torch

from curricula.teacher import Teacher


class Sweep(Teacher):
    """From easy to hard, a bit further with every thousand successes."""

    kept = ("successes",)  # all that changes: what a checkpoint holds

    def __init__(self, space, cfg, num_envs, seed):
        super().__init__(space, cfg, num_envs, seed)
        self.successes = torch.zeros((), device=space.device)

    def propose(self, env_ids):
        """Points [k, D] of episodes to start: up to `reach` of the way from the easiest point to any other."""
        reach = (self.successes / 1000 * self.cfg.pace).clamp(max=1.0)
        return self.space.origin + reach * (self.rand(len(env_ids), self.space.dim) - self.space.origin)

    def learn(self, points, success, env_ids):
        """Episodes that finished, once an iteration: `success` [k] is 0 or 1."""
        self.successes += success.sum()
