"""`python -m leaderboard.submit RUN... --out bundle.zip`: pack complete runs for the leaderboard."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from leaderboard.data.schema import LINKS, Unusable, check_result, read_json
from leaderboard.submissions import bundle, checks, tables
from suite.errors import UserError, exit_code
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


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard.submit", description="Pack runs for the leaderboard.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories, or folders that hold them")
    parser.add_argument("--out", type=Path, required=True, metavar="ZIP", help="the bundle, a new file")
    parser.add_argument("--division", default="closed", choices=bundle.DIVISIONS, help="closed: the suite's training")
    for name, longest in bundle.TEXTS.items():
        needed = name != "description"
        parser.add_argument(
            f"--{name}", required=needed, default="", metavar="TEXT", help=f"at most {longest} characters"
        )
    for name in LINKS:
        parser.add_argument(f"--{name}", default="", metavar="URL", help="an address that the page shows, https://...")
    args = parser.parse_args(argv)
    texts = {name: vars(args)[name] for name in bundle.TEXTS}
    for name in LINKS:
        if link := vars(args)[name]:
            if not link.startswith("https://"):
                raise UserError(f"--{name} has to be an address that starts with https://, got {link!a}")
            texts[name] = link
    digest, count = pack(args.runs, args.out, args.division, texts)
    print(f"{args.out}: {count} runs, {args.out.stat().st_size / 1e6:.1f} MB, sha256 {digest}")
    print(f"check it as the leaderboard will: python -m leaderboard.verify {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.submit", main))
