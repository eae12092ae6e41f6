"""Find and read run directories. What is damaged, unfinished or foreign is listed with the reason, never raised.

The evaluated episodes are the evidence: success is counted from `episodes.parquet`, and a run whose `result.json`
or hashes say otherwise is left out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leaderboard.data import curriculum_log as course
from leaderboard.data import curves, evaluations, parallel, plain
from leaderboard.data.curriculum_log import Course
from leaderboard.data.curves import GradeCurve, TrainingCurve
from leaderboard.data.evaluations import Evaluation
from leaderboard.data.schema import Unusable, check_evaluation, check_result, read_json
from suite.errors import first_line, printable

RUN_FILES = {"result.json", "status.json", "config.yaml", "provenance.json"}
OPEN = "-open"  # behind a budget
PARALLEL_FROM = 400  # run directories; below, starting processes takes longer than it saves


@dataclass(frozen=True, order=True)
class Entry:
    """What is ranked: everything of a run but its task and seed. `overrides` is canonical JSON, `{}` for none.

    `budget` has `-open` behind it in the open division, which is ranked apart. `submitter` is empty for runs that no
    submission brought. `packages` has those that parts of the runs come from, beside Gradus, with their versions.
    """

    budget: str
    algo: str
    curriculum: str
    randomization: str
    engine: str
    overrides: str = "{}"
    submitter: str = ""
    packages: str = ""


@dataclass(frozen=True)
class Submission:
    """What the manifest of a run's bundle says of it. `code` and `paper` are https addresses, or empty."""

    title: str
    division: str
    description: str = ""
    code: str = ""
    paper: str = ""


@dataclass(frozen=True)
class Run:
    """One complete run. `path` is relative to the folder that was searched, with forward slashes."""

    path: str
    task: str
    entry: Entry
    seed: int
    result: Mapping[str, Any]
    ended: datetime
    config: str
    evaluation: Evaluation
    others: tuple[Evaluation, ...] = ()  # on further engines, sorted by engine
    curve: TrainingCurve | None = None  # None where nothing was trained
    by_grade: GradeCurve | None = None
    course: Course | None = None  # of a teacher that moves something
    submission: Submission | None = None  # that brought it

    @property
    def key(self) -> tuple[str, Entry, int]:
        """Identity: two directories with the same key are the same run."""
        return self.task, self.entry, self.seed


@dataclass(frozen=True, order=True)
class Skipped:
    """A path, relative to the folder that was searched, that was left out, and why."""

    path: str
    reason: str


@dataclass
class Found:
    """What a search found; both lists sorted, so that they do not depend on the order of files on the disk."""

    runs: list[Run] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def find(root: Path) -> Found:
    """Read every run directory under `root`. Raises `OSError` only if `root` itself cannot be listed."""
    os.scandir(root).close()
    found = Found()
    folders = _run_folders(root)
    read = list(parallel.each(_try_run, [(*f, root) for f in folders], PARALLEL_FROM))
    # Of several submissions of an entry on a task the newest counts, with all its seeds and none of the others'.
    newest: dict[tuple[str, Entry], str] = {}
    for (_, manifest), (_, run, _) in zip(folders, read, strict=True):
        if run is not None and manifest:
            newest[run.task, run.entry] = max(newest.get((run.task, run.entry), manifest), manifest, key=_natural)
    seen: dict[tuple[str, Entry, int], str] = {}
    for (_, manifest), (path, run, skipped) in zip(folders, read, strict=True):
        if run is not None and manifest and manifest != (latest := newest[run.task, run.entry]):
            place = os.path.relpath(os.path.dirname(latest), root)
            found.skipped.append(Skipped(path, f"a newer submission of its entry replaced it: {_shown(place)}"))
        elif run is not None and run.key in seen:
            found.skipped.append(Skipped(path, f"the same run as {seen[run.key]}"))
        else:
            if run is not None:
                seen[run.key] = path
                found.runs.append(run)
            found.skipped.extend(skipped)
    found.runs.sort(key=lambda run: run.key)
    found.skipped.sort()
    return found


def _try_run(folder: str, manifest: str, root: Path) -> tuple[str, Run | None, list[Skipped]]:
    path = _shown(Path(folder).relative_to(root).as_posix())
    try:
        run, notes = read_run(Path(folder), path)
        if manifest:
            run = _of_submission(run, read_json(Path(manifest)))
        if run.entry.packages:
            run = _in_open_division(run)
    except Unusable as error:
        return path, None, [Skipped(path, str(error))]
    except OSError as error:
        return path, None, [Skipped(path, f"it cannot be read: {error.strerror}")]
    except Exception as error:  # of a library that met what it did not expect: it costs this run alone
        return path, None, [Skipped(path, f"it cannot be read: {printable(first_line(error))[:300]}")]
    return path, run, notes


def _of_submission(run: Run, manifest: Mapping[str, Any]) -> Run:
    """The run with its submitter and division: above runs that were accepted lies the manifest of their bundle."""
    told = {key: manifest[key] for key in ("title", "division", "description") if isinstance(manifest.get(key), str)}
    links = {key: manifest[key] for key in ("code", "paper") if str(manifest.get(key)).startswith("https://")}
    submission = Submission(**{"title": "", "division": ""} | told | links)
    run = replace(run, entry=replace(run.entry, submitter=str(manifest.get("submitter"))), submission=submission)
    return _in_open_division(run) if submission.division == "open" else run


def _in_open_division(run: Run) -> Run:
    budget = run.entry.budget.removesuffix(OPEN) + OPEN
    return replace(run, entry=replace(run.entry, budget=budget))


def _shown(path: str) -> str:
    return os.fsencode(path).decode(errors="replace")  # names may be any bytes


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort key of a path: numbers in it as numbers, so that submission 10 is newer than 9."""
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", path)]


def _run_folders(root: Path) -> list[tuple[str, str]]:
    """Folders that a run has begun to fill, sorted, each with the nearest manifest above it, or `""`.

    Nothing is searched below a run. A complete run of a policy for several tasks stands for the runs of its tasks,
    which lie in `tasks/`.
    """
    found: list[tuple[str, str]] = []
    above: dict[str, str] = {}
    for folder, below, files in os.walk(root):
        manifest = os.path.join(folder, "manifest.json") if "manifest.json" in files else above.get(folder, "")
        if not RUN_FILES.isdisjoint(files):
            of_several = "tasks" in below and "result.json" in files
            below[:] = ["tasks"] if of_several else []
            found += [] if of_several else [(folder, manifest)]
        above |= {os.path.join(folder, name): manifest for name in below}
    return sorted(found, key=lambda item: _natural(item[0]))


def read_run(folder: Path, path: str) -> tuple[Run, list[Skipped]]:
    """Read one run directory; also returns what of it was left out. Raises `Unusable`, or `OSError` from the disk."""
    files = set(os.listdir(folder))
    if "result.json" not in files:
        raise Unusable(_why_unfinished(folder))
    result = read_json(folder / "result.json")
    check_result(result)
    own = evaluations.read(folder, result, result["engine"], result)
    if "policy.safetensors" in files and plain.sha256(folder / "policy.safetensors") != result["policy_sha256"]:
        raise Unusable("policy.safetensors is not the file that result.json names by policy_sha256")
    notes: list[Skipped] = []

    def part(name: str, read: Callable[[Path, Mapping[str, Any]], Any]) -> Any:
        """What costs only itself where it is damaged."""
        try:
            return read(folder / name, result)
        except Unusable as error:
            reason = str(error)
        except OSError as error:
            reason = f"it cannot be read: {error.strerror}"
        except Exception as error:
            reason = f"it cannot be read: {printable(first_line(error))[:300]}"
        notes.append(Skipped(f"{path}/{name}", reason))
        return None

    # Without its hash, as in runs of earlier days, it is not opened.
    taught = "curriculum.parquet" in files and "curriculum_sha256" in result and result["curriculum"] != "none"
    engines = part("evaluations", _engines) if "evaluations" in files else None
    others = [part(f"evaluations/{name}", _read_other) for name in engines or ()]
    parts = result["provenance"].get("parts") or ()
    run = Run(
        path=path,
        task=result["task"],
        entry=Entry(
            budget=result["budget"],
            algo=result["algo"],
            curriculum=result["curriculum"],
            randomization=result["randomization"],
            engine=result["engine"],
            overrides=json.dumps(result["overrides"], sort_keys=True),
            packages=", ".join(sorted({f"{part['distribution']} {part['version']}".rstrip() for part in parts})),
        ),
        seed=result["seed"],
        result=result,
        ended=_time(result["provenance"]["ended"]),
        config=(part("config.yaml", _read_config) or "") if "config.yaml" in files else "",
        evaluation=own,
        others=tuple(other for other in others if other is not None),
        curve=part("progress.parquet", curves.read_training) if "progress.parquet" in files else None,
        by_grade=part("curve.parquet", curves.read_by_grade) if "curve.parquet" in files else None,
        course=part("curriculum.parquet", course.read) if taught else None,
    )
    return run, notes


def _time(text: str) -> datetime:
    ended = datetime.fromisoformat(text)
    try:
        ended.astimezone(UTC)
    except OverflowError:
        raise Unusable(f'"ended" in result.json is {text[:40]}, which is no time in UTC') from None
    return ended


def _why_unfinished(folder: Path) -> str:
    try:
        status = read_json(folder / "status.json")
    except Unusable:
        return "no result.json: the run did not finish"
    state = " ".join(str(status.get("state")).split())
    if state == "failed":
        message = " ".join(str(status.get("message") or "no message").split())
        return f"the run failed: {message[:300]}"
    return (
        f"no result.json: the run was {state} at env step {status.get('env_steps')} of {status.get('total_env_steps')}"
    )


def _read_config(path: Path, _: Mapping[str, Any]) -> str:
    return plain.read(path).decode(errors="replace")


def _engines(folder: Path, _: Mapping[str, Any]) -> list[str]:
    """Names of the engines that `evaluations` has a folder of."""
    if folder.is_symlink():
        raise Unusable("evaluations is a link")
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def _read_other(folder: Path, result: Mapping[str, Any]) -> Evaluation:
    """The evaluation of a run's policy on another engine, which the folder is named after."""
    if folder.is_symlink():
        raise Unusable(f"{folder.name} is a link")
    if not (folder / "evaluation.json").exists():
        raise Unusable("no evaluation.json: the evaluation did not finish")
    record = read_json(folder / "evaluation.json")
    check_evaluation(record)
    if record["engine"] != folder.name or record["engine"] == result["engine"]:
        raise Unusable(f"evaluation.json is of engine {record['engine']}")
    if record["policy_sha256"] != result["policy_sha256"]:
        raise Unusable("it evaluated another policy than the run's")
    return evaluations.read(folder, result, folder.name, record)
