"""One run directory done by a worker of its own, outside any matrix."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.markup import escape

from suite.errors import first_line, shown
from suite.execute import process
from suite.execute.launch import WORKER
from suite.runs.rundir import RunDir, read_json


class RunFailed(RuntimeError):
    """The worker ended without a result; the message is the reason, in one line."""


def work(run: RunDir, console: Console) -> dict[str, Any]:
    """Do what is left of a run whose config.yaml is written, and show its state; returns the result.

    Raises:
        RunFailed: if there is none.
    """
    worker = process.start([WORKER, str(run.path)], run.log, own_session=False)
    with console.status("starting") as status:
        while worker.poll() is None:
            now = read_json(run.status) or {}
            status.update(escape(shown(f"{now.get('state', 'starting')}, {now.get('env_steps', 0)} env steps")))
            time.sleep(0.2)
    if (result := run.read_result()) is None:
        why = (read_json(run.status) or {}).get("message") or process.reason(worker.returncode, run.log)
        raise RunFailed(f"{first_line(why)} (see {run.log})")
    return result
