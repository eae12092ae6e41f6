"""Contacts that an engine had no room for: it drops them and goes on, so they are counted.

MuJoCo-Warp flags the worlds whose buffers (`njmax`, `nconmax`) overflowed; PhysX says so in its log, and has such
buffers on a GPU only.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import torch

LOST = re.compile(r"overflow|needs to increase|dropping contacts", re.IGNORECASE)
"""What PhysX's messages about contacts without room have in common."""


class Newton:
    """Counts control steps in which MuJoCo-Warp's or Newton's buffers overflowed, on the device."""

    def __init__(self, manager: Any) -> None:
        """`manager` is Isaac Lab's handle of the running engine."""
        import warp as wp
        from mujoco_warp._src.types import OverflowType

        kinds = ("NEFC", "NJMAX_NNZ", "BROADPHASE", "NARROWPHASE", "CCD", "HFIELD")  # the rest loses no contact
        self._kinds = int(sum(OverflowType[kind] for kind in kinds))
        data, contacts = manager._solver.mjw_data, manager._contacts
        self._flags = wp.to_torch(data.overflow)
        self._steps = torch.zeros((), dtype=torch.long, device=self._flags.device)
        self._count = None
        if manager._needs_collision_pipeline:  # contacts are Newton's own, and handed to MuJoCo-Warp
            self._count = wp.to_torch(contacts.rigid_contact_count)
            self._room = min(contacts.rigid_contact_max, data.naconmax)

    def note(self) -> None:
        """Call after every control step."""
        lost = ((self._flags & self._kinds) != 0).any()
        if self._count is not None:
            lost |= (self._count > self._room).any()
        self._steps += lost
        self._flags.zero_()  # MuJoCo-Warp only ever adds to them

    def steps(self) -> int:
        """Control steps so far in which a buffer overflowed. Waits for the device."""
        return int(self._steps)


class Physx(logging.Handler):
    """Counts what PhysX's log says about contacts without room."""

    def __init__(self) -> None:
        """Listen to the log of the kit-less PhysX."""
        import ovphysx

        super().__init__(logging.WARNING)
        self._messages = 0
        logger = logging.getLogger("gradus.ovphysx")
        logger.propagate = False  # PhysX prints it itself
        logger.addHandler(self)
        ovphysx.enable_python_logging(logger.name, min_severity=ovphysx.LogLevel.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        self._messages += bool(LOST.search(record.getMessage()))

    def note(self) -> None:
        """Nothing to do: the log counts."""

    def steps(self) -> int:
        """Messages so far; there is one in every physics step that loses contacts, or fewer."""
        return self._messages


class Unknown:
    """Stands in for Isaac Sim, whose log is Kit's: there overflows are in the run's log alone."""

    def note(self) -> None:
        """Nothing is counted."""

    def steps(self) -> int:
        """0."""
        return 0


def watch(engine: str, manager: Any) -> Newton | Physx | Unknown:
    """What counts the overflows of a running engine."""
    if engine == "newton_mjwarp":
        return Newton(manager)
    return Physx() if engine == "ovphysx" else Unknown()
