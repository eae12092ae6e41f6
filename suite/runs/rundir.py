"""The run directory: the names of its files, writes that are whole or absent, and what counts as complete."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import suite
from suite import untrusted
from suite.runs import schemas
from tasks.core.files import atomic, temporary_beside

MAX_JSON_BYTES = 64 * 2**20
SWEEP_S = 3600.0  # [s] after which nobody fills a temporary file any more
_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{32}|tmp)")  # of `tasks.core.files`
RESULT_KEYS = schemas.required(schemas.Result)


class FormatError(ValueError):
    """Content that does not fit the model of its file; the message is one line."""


@dataclass(frozen=True)
class RunFile:
    """One file of a run directory, and what the rest of the project does with it."""

    path: str
    """Relative to the run directory."""
    about: str
    written: str
    """When: `start`, while `training`, `trained` (training ended), `evaluated`, `end`, or `always` (live state)."""
    hashed: str = ""
    """The key of result.json that holds its SHA-256."""
    resume: str = ""
    """Another machine needs it to go on: it is a `part`, or a `mark`, which says that all parts up to it are there."""
    submitted: str = ""
    """`always` if a submission without it is refused, `optional` if it goes along where it is there."""
    published: bool = False
    """`leaderboard.publish` copies it."""
    artifact: str = ""
    """The W&B artifact that it is part of."""


_SHARED = {"submitted": "always", "published": True}
_TABLE = {"written": "training", "resume": "part", "published": True, "artifact": "result"}

FILES: dict[str, RunFile] = {
    "result": RunFile(
        "result.json", "the outcome; it exists where a run is complete", "end", artifact="result", **_SHARED
    ),
    "config": RunFile("config.yaml", "the whole resolved configuration", "start", artifact="policy", **_SHARED),
    "provenance": RunFile(
        "provenance.json",
        "packages, commit, hardware, assets, command",
        "start",
        resume="part",
        artifact="result",
        **_SHARED,
    ),
    "episodes": RunFile(
        "episodes.parquet",
        "the evaluated episodes",
        "evaluated",
        "episodes_sha256",
        resume="part",
        artifact="result",
        **_SHARED,
    ),
    "policy": RunFile(
        "policy.safetensors", "the policy", "trained", "policy_sha256", resume="mark", artifact="policy", **_SHARED
    ),
    "progress": RunFile(
        "progress.parquet", "the learning curve", hashed="progress_sha256", submitted="optional", **_TABLE
    ),
    "curriculum": RunFile(
        "curriculum.parquet", "what the teacher did", hashed="curriculum_sha256", submitted="optional", **_TABLE
    ),
    "curve": RunFile("curve.parquet", "success by grade while training", hashed="curve_sha256", **_TABLE),
    "evaluation": RunFile("evaluation.json", "what the evaluation found", "evaluated", resume="mark"),
    "checkpoint": RunFile("checkpoint/last.ckpt", "what a training continues from", "training", resume="mark"),
    "failures": RunFile("failures.json", "tries that failed, and why", "always"),
    "status": RunFile("status.json", "what the run is doing now", "always"),
    "log": RunFile("worker.log", "output of the worker", "always"),
}
"""Every file of a run: the lists of files elsewhere are taken from this one. Their order is that of the table."""


def paths_of(wanted: Callable[[RunFile], object]) -> tuple[str, ...]:
    """Paths of the files of which `wanted` is true."""
    return tuple(file.path for file in FILES.values() if wanted(file))


@dataclass(frozen=True)
class RunDir:
    """One run's folder."""

    path: Path

    def file(self, name: str) -> Path:
        """Where the file called `name` in `FILES` is."""
        return self.path / FILES[name].path

    def there(self, wanted: Callable[[RunFile], object]) -> list[Path]:
        """Files of the run that exist and of which `wanted` is true."""
        return [path for name in paths_of(wanted) if (path := self.path / name).exists()]

    @property
    def config(self) -> Path:
        """The whole resolved configuration (YAML)."""
        return self.file("config")

    @property
    def provenance(self) -> Path:
        """Packages, commit, hardware, assets, command (JSON)."""
        return self.file("provenance")

    @property
    def status(self) -> Path:
        """What the run is doing now (JSON)."""
        return self.file("status")

    @property
    def progress(self) -> Path:
        """The learning curve (Parquet)."""
        return self.file("progress")

    @property
    def curriculum(self) -> Path:
        """Difficulty and success by difficulty while training (Parquet)."""
        return self.file("curriculum")

    @property
    def curve(self) -> Path:
        """Success by grade while training, where that was asked for (Parquet)."""
        return self.file("curve")

    @property
    def episodes(self) -> Path:
        """The evaluated episodes (Parquet)."""
        return self.file("episodes")

    @property
    def evaluation(self) -> Path:
        """The outcome of the evaluation (JSON), kept so that a failure after it does not cost a second evaluation."""
        return self.file("evaluation")

    @property
    def policy(self) -> Path:
        """The trained policy; written when training ended."""
        return self.file("policy")

    @property
    def checkpoint(self) -> Path:
        """The folder of the last point that training can continue from."""
        return self.file("checkpoint").parent

    def part(self, task: str) -> RunDir:
        """The run of one of several tasks that a policy was trained for: a whole run directory of its own."""
        return RunDir(self.path / "tasks" / task)

    @property
    def log(self) -> Path:
        """Standard output and error of the worker."""
        return self.file("log")

    @property
    def result(self) -> Path:
        """The outcome (JSON), written last: its existence says that the run is complete."""
        return self.file("result")

    @property
    def failures(self) -> Path:
        """Tries that failed: when, where, and why (JSON)."""
        return self.file("failures")

    def read_failures(self) -> list[dict[str, Any]]:
        """The tries that failed, the oldest first: `ended`, `device` and `reason` of each."""
        failures = (read_json(self.failures) or {}).get("failures")
        found = [failure for failure in failures if isinstance(failure, dict)] if isinstance(failures, list) else []
        return [failure for failure in found if isinstance(failure.get("reason"), str)]

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


def write_json(path: Path, content: dict[str, Any], once: bool = False) -> None:
    """Write JSON, see `atomic`; numbers that JSON does not have (NaN, infinity) become null."""
    text = json.dumps(finite(content), indent=1, allow_nan=False) + "\n"
    atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), once)


def write_checked(path: Path, content: dict[str, Any], model: type[schemas.Model], once: bool = False) -> None:
    """Write JSON that a model describes, see `write_json`. Raises `FormatError` for what nobody would read again."""
    if wrong := schemas.problem(model, path.name, finite(content)):
        raise FormatError(f"it cannot be written: {wrong}")
    write_json(path, content, once)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, or None where there is none or it is damaged; see `untrusted.load_json`."""
    try:
        content = untrusted.load_json(path, MAX_JSON_BYTES)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_status(path: Path, **fields: Any) -> None:
    """Replace `status.json`. It is for people who watch, so it is not synced to disk."""
    content = finite({**fields, "updated": now()})
    temporary = temporary_beside(path)
    try:
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(run: RunDir) -> None:
    """Remove the temporary files that processes which were killed have left in a run directory."""
    for folder in (run.path, run.checkpoint):
        for path in folder.glob(".*"):
            with suppress(OSError):
                if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > SWEEP_S:
                    path.unlink()


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


def finite(value: Any) -> Any:
    """What JSON can hold: NaN and infinity become None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
