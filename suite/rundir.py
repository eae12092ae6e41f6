"""The run directory: the names of its files, writes that are whole or absent, and what counts as complete."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import suite

RESULT_SCHEMA = 1
RESULT_KEYS = (
    *("suite_version", "task", "algo", "curriculum", "randomization", "engine", "seed", "budget", "overrides"),
    *("env_steps", "wall_time_s", "success", "episodes", "policy_sha256", "episodes_sha256", "provenance"),
)


@dataclass(frozen=True)
class RunDir:
    """One run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The whole resolved configuration (YAML)."""
        return self.path / "config.yaml"

    @property
    def provenance(self) -> Path:
        """Packages, commit, hardware, assets, command (JSON)."""
        return self.path / "provenance.json"

    @property
    def status(self) -> Path:
        """What the run is doing now (JSON)."""
        return self.path / "status.json"

    @property
    def progress(self) -> Path:
        """The learning curve (Parquet)."""
        return self.path / "progress.parquet"

    @property
    def curriculum(self) -> Path:
        """Difficulty and success by difficulty while training (Parquet)."""
        return self.path / "curriculum.parquet"

    @property
    def curve(self) -> Path:
        """Success by grade while training, where that was asked for (Parquet)."""
        return self.path / "curve.parquet"

    @property
    def episodes(self) -> Path:
        """The evaluated episodes (Parquet)."""
        return self.path / "episodes.parquet"

    @property
    def evaluation(self) -> Path:
        """What the evaluation found (JSON): kept so that one which has ended is not repeated if what follows fails."""
        return self.path / "evaluation.json"

    @property
    def policy(self) -> Path:
        """The trained policy; written when training ended."""
        return self.path / "policy.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The last point that training can continue from."""
        return self.path / "checkpoint"

    def part(self, task: str) -> RunDir:
        """The run of one of several tasks that a policy was trained for: a whole run directory of its own."""
        return RunDir(self.path / "tasks" / task)

    @property
    def log(self) -> Path:
        """Standard output and error of the worker."""
        return self.path / "worker.log"

    @property
    def result(self) -> Path:
        """The outcome (JSON), written last: its existence says that the run is complete."""
        return self.path / "result.json"

    @property
    def failures(self) -> Path:
        """Tries that failed: when, where, and why (JSON)."""
        return self.path / "failures.json"

    def read_failures(self) -> list[dict[str, Any]]:
        """The tries that failed, the oldest first: `ended`, `device` and `reason` of each."""
        return (read_json(self.failures) or {}).get("failures", [])

    def add_failure(self, device: str, reason: str) -> None:
        """Append to the tries that failed."""
        write_json(
            self.failures,
            {"failures": [*self.read_failures(), {"ended": now(), "device": device, "reason": reason}]},
        )

    def read_result(self) -> dict[str, Any] | None:
        """The result if the run is complete, else None."""
        result = read_json(self.result)
        if not result or any(key not in result for key in RESULT_KEYS):
            return None
        return result if self.episodes.is_file() and self.policy.is_file() else None


def atomic(path: Path, write: Callable[[Path], object], once: bool = False) -> None:
    """Let `write` fill a temporary file, then put it in place of `path`: a reader sees all of it or nothing.

    With `once` there may be no file yet; raises `FileExistsError` otherwise.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # without it a power cut may leave an empty file under the new name
        if once:
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any], once: bool = False) -> None:
    """Write JSON, see `atomic`; numbers that JSON does not have (NaN, infinity) become null."""
    text = json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"
    atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), once)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, or None where there is none or it is cut off."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_status(path: Path, **fields: Any) -> None:
    """Replace `status.json`. It is for people who watch, so it is not synced to disk."""
    content = _finite({**fields, "updated": now()})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    os.replace(temporary, path)


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions_in(out: Path) -> list[str]:
    """Suite versions other than this one whose runs lie in `out`."""
    found = set()
    for folder in sorted(out.iterdir()) if out.is_dir() else ():
        if folder.name != suite.__version__ and next(folder.glob("*/*/*/seed*/config.yaml"), None):
            found.add(folder.name)
    return sorted(found)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
