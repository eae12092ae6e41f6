"""All private names of Isaac Lab's core that this package uses. Those of its engines are in `ovphysx` and `newton`.

`managers` and `locomotion.terrain` subclass Isaac Lab's managers and terrain importer, and use the attributes and hooks
of these classes that are listed here.
"""

from __future__ import annotations

from typing import Any

import torch

from tasks.core.fast import Home

VERSIONS = {"isaaclab": "3.0.0"}

HOME = Home(
    "Isaac Lab",
    VERSIONS,
    {
        "isaaclab.managers:EventManager": ("_mode_term_cfgs", "_interval_term_time_left"),
        "isaaclab.managers:ObservationManager": ("_group_obs_term_cfgs", "_group_obs_term_names"),
        "isaaclab.managers:RewardManager": ("_term_cfgs", "_class_term_cfgs"),
        "isaaclab.managers:TerminationManager": (
            "_term_names",
            "_term_cfgs",
            "_class_term_cfgs",
            "_truncated_buf",
            "_terminated_buf",
        ),
        "isaaclab.terrains:TerrainGenerator": (
            "_generate_curriculum_terrains",
            "_get_terrain_mesh",
            "_add_sub_terrain",
        ),
        "isaaclab.envs:ManagerBasedRLEnv": ("_reset_idx",),
    },
)
"""What there is no public way to. `launch` asks for it before anything is built."""

WRENCHES = Home("Isaac Lab", VERSIONS, {"isaaclab.utils.wrench_composer:WrenchComposer": ("_dirty",)})
"""What `Composed` forces need for their fast path."""


def event_terms(manager: Any, mode: str) -> list[Any]:
    """The terms (with `func` and `params`) of an event manager's `mode`, in order."""
    return list(manager._mode_term_cfgs.get(mode, ()))


def interval_times(manager: Any) -> list[torch.Tensor]:
    """Times [N] [s] until the next event, for each term of mode `interval`: the manager's own tensors."""
    return manager._interval_term_time_left


def note_changed(composer: Any) -> None:
    """Tell a wrench composer that someone has written to its buffers."""
    composer._dirty = True
