"""`gradus status RUNS`: where the runs in a folder stand, seen from outside."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, shown
from suite.execute import lease
from suite.plan import plans
from suite.plan.preflight import check_versions
from suite.report.display import ACTIVE, Board, describe, overall
from suite.runs import schemas
from suite.runs.rundir import RunDir, read_json

EVERY_S = 2.0  # [s] between two looks with --follow
_STATES = ("queued", "failed", "complete", *ACTIVE)


@dataclass
class Name:
    """Which run, from its path; `env_steps` as it was planned."""

    path: str
    task: str
    algo: str
    variant: str
    seed: int
    env_steps: int


@dataclass
class Found:
    """A run and where it stands; the states are those of `scheduler.Tracked`, and lost: its process is gone."""

    job: Name
    state: str
    status: dict[str, Any] = field(default_factory=dict)
    message: str = ""


@app.command("suite.status", ("gradus status runs", "gradus status runs --follow", "gradus status runs --json"))
def main(
    runs: o.Runs,
    follow: Annotated[bool, o.flag("--follow", "again every two seconds, until no run is left")] = False,
    as_json: o.Json = False,
) -> int:
    """Show where the runs in a folder stand, also while other commands work on them.

    Exit code: 0 if every run is complete, 1 if one is not, 2 for a folder without runs.
    """
    if not runs.is_dir():
        raise UserError(f"{shown(runs)} is not a folder; expected the --out of suite.run")
    check_versions(runs)
    found = look(runs)
    if not found:
        raise UserError(f"{runs} holds no runs of this suite version")
    if as_json:
        print(json.dumps(_as_json(found), indent=1))
    elif follow:
        found = _follow(runs)
    else:
        _show(found)
    return 0 if all(run.state == "complete" for run in found) else 1


def look(out: Path) -> list[Found]:
    """Every run that was planned or begun in `out`, sorted by path."""
    planned = plans.load(out)
    runs = {str(run.path.relative_to(out)): run for run in plans.run_dirs(out)}
    return [_look_at(path, runs.get(path), planned.get(path)) for path in sorted({*planned, *runs})]


def _look_at(path: str, run: RunDir | None, env_steps: int | None) -> Found:
    _, task, algo, variant, seed = Path(path).parts
    name = Name(path, task, algo, variant, int(seed.removeprefix("seed")), env_steps or 0)
    status = {} if run is None else known(read_json(run.status) or {})
    if env_steps is None:
        name.env_steps = status.get("total_env_steps") or 0
    if run is not None and run.read_result() is not None:
        return Found(name, "complete", status | {"eta_s": None})
    state = status.get("state")
    if state not in _STATES or state == "complete":  # its result is gone
        state = "queued"
    if state in ACTIVE and (run is None or not _alive(run)):
        return Found(name, "lost", status, "its process is gone; the same command continues from the last checkpoint")
    return Found(name, state, status, status.get("message") or "")


def known(status: Mapping[str, Any]) -> dict[str, Any]:
    """What a status.json says, without values that it cannot have: a damaged one may hold anything."""
    kept = {key: value for key, value in status.items() if schemas.fits(schemas.Status, key, value)}
    return {key: shown(value) if isinstance(value, str) else value for key, value in kept.items() if value is not None}


def _alive(run: RunDir) -> bool:
    alive = lease.holder_alive(run.path)
    if alive is None:  # on another machine: by its last report, as far as the two clocks agree
        with suppress(OSError):
            return time.time() - run.status.stat().st_mtime < lease.LEASE_S
    return bool(alive)


def _as_json(found: Sequence[Found]) -> dict[str, Any]:
    runs = [vars(run.job) | {"state": run.state, "message": run.message, "status": run.status} for run in found]
    return {"overall": overall(found), "runs": runs}


def _show(found: Sequence[Found]) -> None:
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        console.print(Board(found))
        return
    for run in found:
        if run.state not in ("complete", "queued"):
            print(describe(run))
    print(overall(found))


def _follow(out: Path) -> list[Found]:
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        while True:
            found = look(out)
            live.update(Board(found), refresh=True)
            if not any(run.state in (*ACTIVE, "queued") for run in found):
                return found
            time.sleep(EVERY_S)


if __name__ == "__main__":
    sys.exit(exit_code("suite.status", main))
