"""Isaac Lab's managers without what is not needed here: logs, and copies of what is not kept.

They call the same terms in the same order. What goes on between two physics steps is hundreds of small operations,
and on a GPU each costs the same however many envs there are.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from isaaclab.managers import ObservationManager, RewardManager, TerminationManager

from tasks.core.env_state import EnvState

NON_FINITE = "non_finite"
"""How an episode ended whose simulation diverged, see `tasks.isaaclab.divergence`."""

_UNUSED = ("modifiers", "noise", "clip", "history_length", "delay_max_lag")


class Observations(ObservationManager):
    """Groups of terms, each with a scale at most."""

    def __init__(self, cfg: Any, env: EnvState) -> None:
        """Raises `ValueError` for a term that asks for more than a scale."""
        super().__init__(cfg, env)
        for group, terms in self._group_obs_term_cfgs.items():
            for name, term in zip(self._group_obs_term_names[group], terms, strict=True):
                if asked := [option for option in _UNUSED if getattr(term, option, None)]:
                    raise ValueError(f"observation {group}/{name}: {', '.join(asked)} is not possible, only a scale")

    def compute(self, update_history: bool = False) -> dict[str, torch.Tensor]:
        """Each group [N, width] by name; `update_history` is Isaac Lab's and without meaning here."""
        groups = self._group_obs_term_cfgs.items()
        return {group: torch.cat([self._value(term) for term in terms], dim=-1) for group, terms in groups}

    def _value(self, term: Any) -> torch.Tensor:
        value = term.func(self._env, **term.params)
        return value if term.scale is None else value * term.scale


class Rewards(RewardManager):
    """The weighted sum of the terms."""

    def __init__(self, cfg: Any, env: EnvState) -> None:
        """Keep the weights on the device."""
        super().__init__(cfg, env)
        self._weights = torch.tensor([term.weight for term in self._term_cfgs], device=env.device)

    def compute(self, dt: float) -> torch.Tensor:
        """The reward [N] of a control step of `dt` [s]."""
        values = torch.stack([term.func(self._env, **term.params) for term in self._term_cfgs], dim=1)
        return (values * self._weights).sum(dim=1) * dt

    def reset(self, env_ids: torch.Tensor) -> dict[str, Any]:
        """Let the terms that have a state start again."""
        return _reset(self._class_term_cfgs, env_ids)


class Terminations(TerminationManager):
    """What ends an episode; success and safety are evaluated here too: after the physics, before rewards and resets.

    Attributes:
        fired: condition of each term in the last step [N] bool, by name.
    """

    def __init__(self, cfg: Any, env: EnvState) -> None:
        """Nothing has ended."""
        super().__init__(cfg, env)
        self._never = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
        self.fired = dict.fromkeys(self._term_names, self._never)

    def compute(self) -> torch.Tensor:
        """The rows that end now [N] bool."""
        env = self._env
        env.success = env.hold(env.success_condition(env))
        env.violations = {name: crossed(env) for name, crossed in env.safety_conditions.items()}
        terms = dict(zip(self._term_names, self._term_cfgs, strict=True))
        self.fired = {name: term.func(env, **term.params) for name, term in terms.items()}
        self._truncated_buf = self._union(name for name, term in terms.items() if term.time_out)
        self._terminated_buf = self._union(name for name, term in terms.items() if not term.time_out)
        if env.divergence:
            self.fired = {NON_FINITE: env.divergence.look(), **self.fired}
            self._terminated_buf = self._terminated_buf | env.divergence.rows
            env.success = env.success & ~env.divergence.rows
        self._truncated_buf = self._truncated_buf & ~self._terminated_buf  # a row that fails in its last step failed
        return self._truncated_buf | self._terminated_buf

    def _union(self, names: Any) -> torch.Tensor:
        flags = [self.fired[name] for name in names]
        return reduce(torch.logical_or, flags) if flags else self._never

    def reset(self, env_ids: torch.Tensor) -> dict[str, Any]:
        """See `Rewards.reset`."""
        return _reset(self._class_term_cfgs, env_ids)


def _reset(terms: Any, env_ids: torch.Tensor) -> dict[str, Any]:
    for term in terms:
        term.func.reset(env_ids=env_ids)
    return {}
