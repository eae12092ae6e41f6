"""What watches over a worker from a thread of its own: the lease is kept alive, and a hang is ended."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from suite.execute import lease as leases
from suite.execute.lease import Lease, Lost
from suite.execute.process import LEASE_LOST

TICK_S = 1.0
WATCHDOG_S = 900.0  # [s] without progress after which a training counts as hung, if not told otherwise
SLOW_S = 1800.0  # [s] without news that is allowed at least while a simulator starts (it compiles) and in evaluation


class Guard(threading.Thread):
    """Ends the process, and with it all that it started, when the run is lost or stands still."""

    def __init__(self, lease: Lease, watchdog_s: float, report_hang: Callable[[str], None]) -> None:
        """`report_hang` is given the reason before the process ends."""
        super().__init__(daemon=True)
        self._lease, self._watchdog, self._report_hang = lease, watchdog_s, report_hang
        self._slow = True
        self._progress = self._alive = time.monotonic()

    def progress(self, slow: bool) -> None:
        """Note progress; `slow` if the next may take as long as the start of a simulator."""
        self._progress, self._slow = time.monotonic(), slow

    def run(self) -> None:
        """Watch until the process ends."""
        while True:
            self._keep_lease()
            limit = max(self._watchdog, SLOW_S) if self._slow else self._watchdog
            if time.monotonic() - self._progress > limit:
                self._report_hang(f"no progress for {limit:.0f} s (--watchdog): ended")
                os._exit(1)
            time.sleep(TICK_S)

    def _keep_lease(self) -> None:
        try:
            self._lease.beat()
            self._alive = time.monotonic()
        except OSError:
            # Well before others think that this process is dead; it could not tell that they took over.
            if time.monotonic() - self._alive > leases.LEASE_S / 2:
                _end("the run directory cannot be reached")
        except Lost as lost:
            _end(str(lost))


def _end(reason: str) -> None:
    print(reason, file=sys.stderr, flush=True)
    os._exit(LEASE_LOST)
