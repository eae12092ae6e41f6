"""`gradus submit RUN... --out bundle.zip`: pack complete runs for the leaderboard."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from leaderboard.data.schema import Unusable, check_result, read_json
from leaderboard.submissions import bundle, checks, tables
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, one_of
from suite.runs.rundir import RunDir


def pack(runs: Sequence[Path], out: Path, division: str, texts: dict[str, str]) -> tuple[str, int]:
    """Write the bundle of all run directories at or below `runs` to `out`; returns its SHA-256 and how many runs.

    What is packed is read back and checked as `leaderboard.verify` does, but for running the policies again.

    Raises:
        UserError: for a run that is incomplete or damaged, or that the division does not take.
    """
    folders = _run_folders(runs)
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    if out.exists():
        raise UserError(f"--out {out} exists; name a new file")
    with tempfile.TemporaryDirectory(prefix=".submit-", dir=out.parent) as scratch:
        draft = Path(scratch) / out.name
        try:
            digest = bundle.write(draft, texts, division, _places(folders))
            opened = bundle.read(draft, Path(scratch) / "unpacked")
            tables.probe(opened.folder)
            checks.check(opened)
            draft.replace(out)
        except Unusable as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise UserError(f"cannot write {out}: {error.strerror or error}") from None
    return digest, len(folders)


def _run_folders(paths: Sequence[Path]) -> list[Path]:
    """Run directories at or below `paths`; one that was begun counts, so that it is refused and not left out."""
    found: dict[Path, None] = {}
    for path in paths:
        alone = (path / "config.yaml").exists() and not (path / "tasks").is_dir()
        below = [path] if alone else sorted(f.parent for f in path.glob("**/config.yaml"))
        if not below:
            raise UserError(f"{path} is no run directory, and none is below it")
        # A run for several tasks stands for those of its tasks.
        found |= dict.fromkeys(folder.resolve() for folder in below if not (folder / "tasks").is_dir())
    for folder in found:
        run = RunDir(folder)
        if missing := [name for name in bundle.RUN_FILES if not (folder / name).is_file()]:
            raise UserError(f"{folder} is not complete (no {missing[0]}): repeat its suite.run command")
        if run.read_result() is None:
            raise UserError(f"{folder} has no valid result.json: repeat its suite.run command")
    return list(found)


def _places(folders: Sequence[Path]) -> dict[str, Path]:
    """Where in the bundle each run lies."""
    places: dict[str, Path] = {}
    for folder in folders:
        if (place := _place(folder)) in places:
            raise UserError(f"{places[place]} and {folder} hold the same run, {place}; name one of them")
        places[place] = folder
    return places


def _place(folder: Path) -> str:
    result = read_json(folder / "result.json")
    try:
        check_result(result)
    except Unusable as error:
        raise Unusable(f"{folder}: {error}") from None
    if "multi.tasks" in result["overrides"]:  # it lies in the run of all these tasks
        return f"runs/{checks.folder_of(result)}"
    return "/".join(("runs", *folder.parts[-5:]))


EXAMPLES = (
    "gradus submit runs --out bundle.zip --title 'What it is' --submitter 'Who you are' --contact you@example.org",
    "gradus submit runs/0.1.0/ant-run/mine --out mine.zip --division open --title Mine --submitter Me --contact me",
)
SUBMISSION = "The submission"


def _text(name: str) -> Any:
    return o.option(f"--{name}", "TEXT", f"at most {bundle.TEXTS[name]} characters", SUBMISSION, show_default=False)


def _link(name: str) -> Any:
    return o.option(f"--{name}", "URL", "an address that the page shows, https://...", SUBMISSION, show_default=False)


@app.command("leaderboard.submit", EXAMPLES)
def main(
    runs: Annotated[list[Path], o.argument("RUN", "run directories, or folders that hold them")],
    out: Annotated[Path, o.folder("--out", "ZIP", "the bundle, a new file")],
    title: Annotated[str, _text("title")],
    submitter: Annotated[str, _text("submitter")],
    contact: Annotated[str, _text("contact")],
    description: Annotated[str, _text("description")] = "",
    code: Annotated[str, _link("code")] = "",
    paper: Annotated[str, _link("paper")] = "",
    division: Annotated[
        str,
        o.named(
            "--division",
            "NAME",
            f"{' or '.join(bundle.DIVISIONS)}; closed: the suite's training",
            lambda: bundle.DIVISIONS,
            SUBMISSION,
        ),
    ] = "closed",
    as_json: o.Json = False,
) -> int:
    """Pack complete runs for the leaderboard, and check them as it will."""
    one_of("division", division, bundle.DIVISIONS)
    texts = {"title": title, "submitter": submitter, "contact": contact, "description": description}
    for name, link in (("code", code), ("paper", paper)):
        if link:
            if not link.startswith("https://"):
                raise UserError(f"--{name} has to be an address that starts with https://, got {link!a}")
            texts[name] = link
    digest, count = pack(runs, out, division, texts)
    size = out.stat().st_size
    if as_json:
        print(json.dumps({"bundle": str(out), "runs": count, "bytes": size, "sha256": digest}))
        return 0
    print(f"{out}: {count} runs, {size / 1e6:.1f} MB, sha256 {digest}")
    print(f"check it as the leaderboard will: gradus verify {out}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.submit", main))
