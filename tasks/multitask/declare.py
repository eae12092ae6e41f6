"""Several tasks as one, `a+b`: what a policy for all of them sees and does. Reading it imports no torch.

A term that tasks share by name and width has the same columns in all of them; one that a task does not have is 0
there. The last term of what the policy sees says which task it is, one-hot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.spec import Factor, TaskSpec, Term

SEPARATOR = "+"
DESCRIPTION = ("task", "row")
"""The first columns of a multi-task env's factors; those of the task itself follow."""

Block = Literal["observations", "critic_observations", "actions"]


@dataclass(frozen=True)
class MultiTaskSpec(TaskSpec):
    """A set of tasks. What has no common value (grades, success, safety) is that of the `parts`."""

    parts: tuple[TaskSpec, ...] = ()

    def obs_columns(self, k: int) -> list[int]:
        """For each column of task k's observations, the column that it has here."""
        behind = [self.policy_dim + column for column in self._columns(k, "critic_observations")]
        return self._columns(k, "observations") + behind

    def action_columns(self, k: int) -> list[int]:
        """For each column of task k's actions, the column that it has here."""
        return self._columns(k, "actions")

    def task_column(self, k: int) -> int:
        """The observation that is 1 in task k and 0 elsewhere."""
        return self.policy_dim - len(self.parts) + k

    def _columns(self, k: int, block: Block) -> list[int]:
        starts, width = {}, 0
        for term in getattr(self, block):
            starts[term.name, term.dim] = width
            width += term.dim
        own = getattr(self.parts[k], block)
        return [starts[term.name, term.dim] + i for term in own for i in range(term.dim)]


def declare(parts: Sequence[TaskSpec]) -> MultiTaskSpec:
    """The joint spec of two or more tasks.

    Raises `ValueError`, in one line, for tasks that no one policy can serve: they have neither the same robot nor the
    same spaces, or no engine in common.
    """
    first = parts[0]
    name = SEPARATOR.join(part.name for part in parts)
    for part in parts[1:]:
        if part.robot != first.robot and _spaces(part) != _spaces(first):
            raise ValueError(f"{name}: {part.name} and {first.name} have neither the same robot nor the same spaces")
    engines = tuple(engine for engine in first.engines if all(engine in part.engines for part in parts))
    if not engines:
        raise ValueError(f"{name}: no engine runs all of these tasks")
    steps = max(part.max_episode_steps for part in parts)
    discrete = {part.discrete_actions for part in parts}
    own_factors = max(len(part.factors) for part in parts)
    return MultiTaskSpec(
        name=name,
        summary=f"One policy for {', '.join(part.name for part in parts)}.",
        robot=", ".join(dict.fromkeys(part.robot for part in parts)),
        engines=engines,
        make_env="tasks.multitask.env:make_env",
        observations=(*_union(parts, "observations"), Term("task", len(parts), "1", "which task it is, one-hot")),
        critic_observations=_union(parts, "critic_observations"),
        actions=_union(parts, "actions"),
        physics_dt=first.physics_dt,
        decimation=first.decimation,
        episode_length_s=steps * first.control_dt,
        success="that of the task",
        success_hold_s=0.0,
        success_when="end",  # a multi-task env counts a success that may come at any time until the end
        grades={},
        budgets={budget: sum(part.budgets[budget] for part in parts) for budget in first.budgets},
        factors=tuple(_column(name) for name in (*DESCRIPTION, *(f"factor {i}" for i in range(own_factors)))),
        discrete_actions=first.discrete_actions if len(discrete) == 1 else (),
        assets=tuple(dict.fromkeys(asset for part in parts for asset in part.assets)),
        parts=tuple(parts),
    )


def _spaces(spec: TaskSpec) -> list[list[tuple[str, int]]]:
    blocks = (spec.observations, spec.critic_observations, spec.actions)
    return [[(term.name, term.dim) for term in block] for block in blocks]


def _union(parts: Sequence[TaskSpec], block: Block) -> tuple[Term, ...]:
    found = {}
    for part in parts:
        for term in getattr(part, block):
            found.setdefault((term.name, term.dim), term)
    return tuple(found.values())


def _column(name: str) -> Factor:
    """A column of what an episode is described by, that nothing moves."""
    return Factor(name, "dynamics", "", nominal=0.0, ranges={}, evaluation=(-1e9, 1e9), effect="")
