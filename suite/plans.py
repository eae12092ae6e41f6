"""What was planned in an output folder and what is there: for `suite.status`, and for estimates."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import suite
from suite.matrix import Job, Request
from suite.rundir import RunDir, read_json, write_json


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
        content = read_json(file) or {}
        planned.update((path, steps) for path, steps in content.get("runs", ()))
    return planned


def run_dirs(out: Path) -> Iterator[RunDir]:
    """Every run directory of this suite version in `out`, sorted."""
    folders = [out / suite.__version__]
    for _ in ("task", "algo", "variant"):
        folders = [Path(entry) for folder in folders for entry in _below(folder)]
    for folder in folders:
        yield from (RunDir(Path(entry)) for entry in _below(folder) if entry.name.startswith("seed"))


def _below(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
    except OSError:
        return []


def _folder(out: Path) -> Path:
    return out / suite.__version__ / ".plans"
