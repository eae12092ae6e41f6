"""Contacts that an engine had no room for: it drops them and goes on, so they are counted. See `Runtime.overflow`."""

from __future__ import annotations

import re

LOST = re.compile(r"overflow|needs to increase|dropping contacts", re.IGNORECASE)
"""What PhysX's messages about contacts without room have in common."""


class Unknown:
    """Stands in for Isaac Sim, whose log is Kit's: there overflows are in the run's log alone."""

    def note(self) -> None:
        """Called after every control step; nothing is counted."""

    def steps(self) -> int:
        """0."""
        return 0
