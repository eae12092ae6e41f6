"""One policy for several tasks: a teacher for each, and how many of the envs each gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from omegaconf import DictConfig

from curricula.episodes import Episodes
from curricula.teacher import Teacher
from tasks.multitask.declare import DESCRIPTION

NEW, OLD = 256, 1024
"""Episodes of a task over which its newer and its older success are averaged."""


class Mix:
    """A teacher per task of a multi-task env, and the share of the envs that each task gets.

    `uniform` gives every task the same. `progress` deals `floor` of the envs out evenly, and the rest in proportion to
    the absolute learning progress of each task: the difference between its success over the last `NEW` and `OLD`
    episodes, both exponential averages, as in Kanitscheider et al. 2021 (arXiv:2106.14876); choosing tasks by it,
    whether success rises or falls, is that of Matiisen et al. 2017 (arXiv:1707.00183). What differs from both:
    a task gets a share of many envs instead of being drawn for one episode, and it keeps it until the envs are reset.
    Success is that at the difficulty which the task's teacher chose.

    Attributes:
        teachers: in the order of the tasks.
        needs_advantage: see `Teacher.needs_advantage`; all teachers are of one kind.
        dealt: the shares that `shares` gave last.
    """

    def __init__(self, teachers: Sequence[Teacher], cfg: DictConfig) -> None:
        """`cfg` is of `curricula.config.MixConfig`."""
        self.teachers, self.cfg = tuple(teachers), cfg
        self.needs_advantage = teachers[0].needs_advantage
        self.dealt: list[float] = [1.0 / len(teachers)] * len(teachers)
        self._averages = torch.zeros(2, len(teachers), device=teachers[0].space.device)  # new and old success

    def split(self, episodes: Episodes) -> list[Episodes]:
        """The episodes of each task, with the env ids and the factors of its own env. Waits for the device."""
        task, row = (episodes.factors[:, column].long() for column in range(len(DESCRIPTION)))
        parts: list[Episodes] = []
        for k, teacher in enumerate(self.teachers):
            rows = (task == k).nonzero().squeeze(1)
            columns = slice(len(DESCRIPTION), len(DESCRIPTION) + teacher.space.num_factors)
            columnar = vars(episodes).items()
            tensors = {name: value[rows] for name, value in columnar if isinstance(value, torch.Tensor)}
            tensors |= {"env_ids": row[rows], "factors": tensors["factors"][:, columns]}
            parts.append(replace(episodes, **tensors))
        return parts

    def update(self, episodes: Episodes) -> None:
        """Take in the episodes that finished since the last call."""
        for k, (teacher, own) in enumerate(zip(self.teachers, self.split(episodes), strict=True)):
            teacher.update(own)
            if count := len(own.difficulty):
                success = own.success(teacher.space.success_when).float().mean()
                for average, window in zip(self._averages, (NEW, OLD), strict=True):
                    average[k] += (1.0 - (1.0 - 1.0 / window) ** count) * (success - average[k])

    def shares(self) -> list[float]:
        """The share [K] of the envs that each task should have now. Waits for the device, once a reset of all envs."""
        if self.cfg.mix == "progress":
            count, floor = len(self.teachers), self.cfg.floor
            progress: list[float] = (self._averages[0] - self._averages[1]).abs().tolist()
            total = sum(progress)
            led = [value / total if total else 1.0 / count for value in progress]
            self.dealt = [floor / count + (1.0 - floor) * value for value in led]
        return self.dealt

    def state_dict(self) -> dict[str, Any]:
        """All that `update` and `shares` depend on."""
        return {"teachers": [teacher.state_dict() for teacher in self.teachers], "averages": self._averages.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        for teacher, own in zip(self.teachers, state["teachers"], strict=True):
            teacher.load_state_dict(own)
        self._averages.copy_(state["averages"])
