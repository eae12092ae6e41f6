"""`gradus publish RUNS... --out DIR`: copy complete runs into a folder that git can keep."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from leaderboard.data import plain, runs
from leaderboard.data.runs import Entry, Run, Skipped
from leaderboard.submissions import bundle, checks
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, printable
from suite.runs import rundir
from suite.untrusted import Unusable

POLICY = rundir.FILES["policy"].path
NEEDED = tuple(name for name in bundle.RUN_FILES if name != POLICY)
FILES = rundir.paths_of(lambda file: file.published)


class Source(NamedTuple):
    """A run to publish: where it lies, and the names of its files that are whole."""

    folder: Path
    run: Run
    files: list[str]


class Published(NamedTuple):
    """What was copied: numbers of runs and of policies, and bytes; and what was not, and why."""

    runs: int
    policies: int
    size: int
    skipped: list[Skipped]


def publish(roots: Sequence[Path], out: Path) -> Published:
    """Copy every complete run below `roots` to its place in `out`; a run that lies there is replaced, others stay.

    Policies are copied of the best seed of each entry and task, and of what was not trained. Raises `UserError`, in
    one line, if there is no complete run or a folder cannot be used.
    """
    sources, skipped = _find(roots)
    if not sources:
        left_out = f"; {len(skipped)} left out, the first: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise UserError(f"no complete run in {', '.join(map(str, roots))}; make one with python -m suite.run{left_out}")
    best = _best(source.run for source in sources.values())
    policies = size = 0
    try:
        out.mkdir(parents=True, exist_ok=True)
        # Beside `out`, not in it: what a killed copy leaves behind is no run of that folder.
        with tempfile.TemporaryDirectory(prefix=".publish-", dir=out.resolve().parent) as scratch:
            for place, source in sources.items():
                keep = source.run.key in best or source.run.result["env_steps"] == 0
                files = [name for name in source.files if keep or name != POLICY]
                policies += POLICY in files
                size += _copy(source.folder, files, out / place, Path(scratch))
    except Unusable as error:  # it was replaced after it was read
        raise UserError(f"cannot copy the runs: {error}") from None
    except OSError as error:
        raise UserError(f"cannot copy the runs to {out}: {error.strerror or error}; choose another --out") from None
    return Published(len(sources), policies, size, skipped)


def _find(roots: Iterable[Path]) -> tuple[dict[str, Source], list[Skipped]]:
    """The runs below `roots` by their place in the published folder, and what is left out."""
    sources: dict[str, Source] = {}
    skipped: list[Skipped] = []
    for root in roots:
        try:
            found = runs.find(root)
        except OSError as error:
            raise UserError(f"cannot read runs from {root}: {error.strerror}; give suite.run's --out") from None
        skipped += [Skipped(str(root / left.path), left.reason) for left in found.skipped]
        damaged = {left.path for left in found.skipped}
        for run in found.runs:
            folder, place = root / run.path, f"runs/{checks.folder_of(run.result)}"
            others = [f"evaluations/{other.engine}/{name}" for other in run.others for name in bundle.EVALUATION_FILES]
            whole = [n for n in (*FILES, *others) if f"{run.path}/{n}" not in damaged and plain.is_plain(folder / n)]
            if place in sources:
                skipped.append(Skipped(str(folder), f"the same run as {sources[place].folder}"))
            elif missing := [name for name in NEEDED if name not in whole]:
                skipped.append(Skipped(str(folder), f"no {missing[0]}"))
            else:
                sources[place] = Source(folder, run, whole)
    return sources, skipped


def _best(found: Iterable[Run]) -> set[tuple[str, Entry, int]]:
    """Keys of the best seed of each entry and task: highest mean success over grades, then the lowest seed."""
    seeds: dict[tuple[str, Entry], list[tuple[float, int]]] = defaultdict(list)
    for run in found:
        seeds[run.task, run.entry].append((-(run.evaluation.successes / run.evaluation.episodes).mean(), run.seed))
    return {(*group, min(ranked)[1]) for group, ranked in seeds.items()}


def _copy(folder: Path, files: Iterable[str], place: Path, scratch: Path) -> int:
    """Put copies of `files` in the new folder `place`, or in place of the old one; returns their bytes."""
    new, old, size = scratch / "new", place.with_name(f".{place.name}.old"), 0
    shutil.rmtree(new, ignore_errors=True)  # of a copy that failed
    for name in files:
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        plain.check_folders(folder / name, folder)
        size += plain.copy(folder / name, new / name)
    place.parent.mkdir(parents=True, exist_ok=True)
    if old.exists() and not place.exists():  # an earlier copy was killed here
        old.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    try:
        if place.exists():
            place.rename(old)
        new.rename(place)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return size


EXAMPLES = ("gradus publish runs --out published", "gradus publish runs-a runs-b --out published --json")


@app.command("leaderboard.publish", EXAMPLES)
def main(
    runs: Annotated[list[Path], o.argument("RUNS", "folders of runs")],
    out: Annotated[Path, o.folder("--out", "DIR", "the folder that is published")],
    as_json: o.Json = False,
) -> int:
    """Copy complete runs into a folder that git can keep: what the page needs, and the policies of the best seeds."""
    done = publish(runs, out)
    if as_json:
        left_out = [{"path": left.path, "reason": left.reason} for left in done.skipped]
        print(json.dumps({"runs": done.runs, "policies": done.policies, "bytes": done.size, "left_out": left_out}))
    else:
        print(f"{out}: {done.runs} runs copied, {done.policies} with policy, {done.size / 1e6:.1f} MB")
    for left in done.skipped:
        print(printable(f"left out {left.path}: {left.reason}"), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.publish", main))
