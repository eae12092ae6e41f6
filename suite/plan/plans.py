"""What was planned in an output folder and what is there: for `suite.status`, and for estimates."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import suite
from suite.plan.matrix import Job, Request
from suite.runs.rundir import RunDir, read_json, write_json

SEED = re.compile(r"seed[0-9]{1,9}")  # and not the copy of a run beside it


def save(jobs: Sequence[Job], request: Request) -> None:
    """Write down the runs of a command, so that those that have not begun can be seen."""
    folder = _folder(request.out)
    folder.mkdir(parents=True, exist_ok=True)
    runs = [[str(job.run.path.relative_to(request.out)), job.env_steps] for job in jobs]
    name = hashlib.sha256(request.command.encode()).hexdigest()[:12]
    write_json(folder / f"{name}.json", {"command": request.command, "runs": runs})


def load(out: Path) -> dict[str, int]:
    """Path relative to `out` of every planned run, and its env steps."""
    planned: dict[str, int] = {}
    for file in sorted(_folder(out).glob("*.json")):
        runs = (read_json(file) or {}).get("runs")
        if isinstance(runs, list):
            planned.update(entry for entry in runs if _is_run(entry))
    return planned


def _is_run(entry: Any) -> bool:
    """Whether an entry of a plan is a run of this suite version and its env steps; a damaged plan may hold anything."""
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and type(entry[1]) is int
        and entry[1] >= 0
        and is_run_path(entry[0])
    )


def is_run_path(text: str) -> bool:
    """Whether a path relative to an output folder is that of a run of this suite version: .../seedK."""
    parts = text.split("/")
    if len(parts) != 5 or parts[0] != suite.__version__ or not SEED.fullmatch(parts[-1]):
        return False
    return all(name.isprintable() and name not in ("", ".", "..") for name in parts)


def run_dirs(out: Path) -> Iterator[RunDir]:
    """Every run directory of this suite version in `out`, sorted."""
    folders = [out / suite.__version__]
    for _ in ("task", "algo", "variant"):
        folders = [Path(entry) for folder in folders for entry in _below(folder)]
    for folder in folders:
        yield from (RunDir(Path(entry)) for entry in _below(folder) if SEED.fullmatch(entry.name))


def _below(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
    except OSError:
        return []


def _folder(out: Path) -> Path:
    return out / suite.__version__ / ".plans"
