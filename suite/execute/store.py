"""Run directories behind an fsspec URL (s3://, gs://, file://, ...), for machines that share no file system."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import suite
from suite.errors import UserError, first_line
from suite.runs.rundir import FILES, RunDir, atomic, read_json, sha256

RESULT = FILES["result"].path


class Store:
    """Files of runs under the URL, by the run's path relative to the output folder."""

    def __init__(self, url: str) -> None:
        """`url` is fsspec's. Raises `UserError` for one that fsspec cannot open."""
        import fsspec

        if "://" not in url:
            raise UserError(f"--store must be an URL such as s3://bucket/runs, got {url!r}")
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UserError(f"--store {url} cannot be opened: {first_line(error)}") from None
        self._url, self._root = url, root.rstrip("/")
        self._seen: dict[Path, int] = {}

    def push_progress(self, run: RunDir, name: str) -> None:
        """Upload what a run could continue from, if there is something new.

        What says that something is done comes last, and as it was before the rest was uploaded: tables of a later
        moment lose the rows that a checkpoint does not know, but rows that are missing would stay missing.
        """
        marks = run.there(lambda file: file.resume == "mark")
        new = [file for file in marks if self._seen.get(file) != file.stat().st_mtime_ns]
        if not new:
            return
        with tempfile.TemporaryDirectory(prefix=".push-", dir=run.path) as folder:
            # A link keeps what a file was: files are replaced, never changed.
            as_it_was = {file: Path(folder) / file.name for file in new}
            for file, link in as_it_was.items():
                os.link(file, link)
            for file in (*run.there(lambda file: file.resume == "part"), *_of_parts(run)):
                self._put(file, run, name)
            for file, link in as_it_was.items():
                self._put(file, run, name, link)
                self._seen[file] = link.stat().st_mtime_ns

    def push(self, run: RunDir, name: str) -> None:
        """Upload all of a run, in the same order; its result last, and only if there is none yet."""
        files = [Path(folder) / file for folder, _, names in os.walk(run.path) for file in names]
        files = [file for file in files if not any(p.startswith(".") for p in file.relative_to(run.path).parts)]
        marks = run.there(lambda file: file.resume == "mark")
        for file in sorted(files, key=lambda file: (file in marks, file)):
            if file != run.result:
                self._put(file, run, name)
        if run.result.exists() and not self._fs.exists(f"{self._root}/{name}/{RESULT}"):
            self._put(run.result, run, name)

    def _put(self, file: Path, run: RunDir, name: str, content: Path | None = None) -> None:
        """A file appears under its name as a whole, also where an URL is a folder."""
        target = f"{self._root}/{name}/{file.relative_to(run.path).as_posix()}"
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._fs.put_file(str(content or file), f"{target}.part")
        self._fs.mv(f"{target}.part", target)

    def pull(self, name: str, folder: Path) -> None:
        """Download what there is of a run; the result last, and only if it fits to the other files."""
        root = f"{self._root}/{name}"
        try:
            found = [path for path in self._fs.find(root) if not path.endswith(".part")]
        except FileNotFoundError:
            return
        for path in sorted(found, key=lambda path: path.endswith(f"{name}/{RESULT}")):
            target = folder / path[path.index(name) + len(name) + 1 :]
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic(target, lambda temporary, path=path: self._fs.get_file(path, str(temporary)))
        result = read_json(folder / RESULT)
        run = RunDir(folder)
        if result and not _fits(run, result):
            run.result.unlink()

    def fetch_complete(self, out: Path) -> None:
        """Download every run that is complete here and not in `out`. Raises `UserError` if it cannot be read."""
        try:
            for path in self._fs.find(f"{self._root}/{suite.__version__}"):
                if not path.endswith(f"/{RESULT}"):
                    continue
                if path.split("/")[-3] == "tasks":
                    continue  # of one of several tasks; it comes with the run of all
                name = "/".join(path.split("/")[-6:-1])  # the URL may have the version in its name, too
                if RunDir(out / name).read_result() is None:
                    self.pull(name, out / name)
        except FileNotFoundError:
            return
        except Exception as error:  # each file system has errors of its own
            raise UserError(f"--store {self._url} cannot be read: {first_line(error)}") from None


def _of_parts(run: RunDir) -> list[Path]:
    """Files of the runs of its tasks, where a policy is for several."""
    return sorted(run.part("*").path.parent.glob("*/[!.]*"))


def _fits(run: RunDir, result: dict) -> bool:
    kept = [file for file in FILES.values() if file.hashed and file.submitted == "always"]
    files = {file.hashed: run.path / file.path for file in kept}
    return all(file.is_file() and sha256(file) == result.get(key) for key, file in files.items())
