"""`suite.run` with `tests.helpers.suite_training` in place of the worker, and without the page at the end.

With REAL=1 the workers are the real ones; with CLOCK=backwards the wall clock goes back an hour every second.
"""

import os
import sys
import time

from suite import run
from suite.errors import exit_code
from suite.execute import launch
from suite.report import summary

if "REAL" not in os.environ:
    launch.WORKER = "tests.helpers.suite_training"


def states_only(tracked, out):
    return 0 if all(t.state in ("complete", "skipped") for t in tracked) else 1


if os.environ.get("CLOCK") == "backwards":
    now, monotonic, start = time.time, time.monotonic, time.monotonic()
    time.time = lambda: now() - 3600.0 * (monotonic() - start)
    time.time_ns = lambda: int(time.time() * 1e9)

summary.show = states_only
sys.exit(exit_code("suite.run", run.main))
