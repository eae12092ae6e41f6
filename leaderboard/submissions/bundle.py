"""A submission as one zip file: written so that equal runs give equal bytes, and read as if it came from an enemy.

    manifest.json                                             who, what, and the SHA-256 and size of every other file
    runs/<suite version>/<task>/<algo>/<variant>/seed<k>/...  run directories

Nothing in the zip is trusted before it is checked: names come from a short list of forms, sizes are counted while
unpacking, and what is not a plain file is refused.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import suite
from leaderboard.data import plain, schema
from leaderboard.data.schema import DIVISIONS as DIVISIONS
from leaderboard.data.schema import (
    FORMAT,
    MAX_JSON_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_YAML_BYTES,
    TEXTS,
    Unusable,
    read_json,
)
from leaderboard.submissions import archive
from leaderboard.submissions.archive import MIB, Limits
from suite.runs.rundir import FILES, paths_of, sha256
from tasks.core.files import atomic

RUN_FILES = paths_of(lambda file: file.submitted == "always")
OPTIONAL_FILES = paths_of(lambda file: file.submitted == "optional")
EVALUATION_FILES = (FILES["evaluation"].path, FILES["episodes"].path)

MAX_BYTES = {
    ".json": MAX_JSON_BYTES,
    ".yaml": MAX_YAML_BYTES,
    ".parquet": 64 * MIB,
    ".safetensors": 64 * MIB,
}

_PART = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}"
_FOLDER = re.compile(rf"runs/{_PART}/{_PART}/{_PART}/[A-Za-z0-9][A-Za-z0-9_.+-]{{0,127}}/seed[0-9]{{1,9}}")
_EVALUATION = re.compile(rf"evaluations/({_PART})/(.+)")
_WEIRD = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")  # Unicode: control, format (text direction), unassigned


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle whose hashes hold. `runs` are the run directories, relative to `folder`, sorted."""

    folder: Path
    sha256: str
    manifest: Mapping[str, Any]
    runs: tuple[str, ...]


def write(out: Path, texts: Mapping[str, str], division: str, runs: Mapping[str, Path]) -> str:
    """Write the bundle of `runs` (folder in the bundle to directory) to `out`, whole or not at all.

    Returns its SHA-256. Raises `Unusable` for a text or division that no bundle may have, `OSError` from the disk.
    """
    files = {
        f"{folder}/{name}": path / name
        for folder, path in runs.items()
        for name in (*RUN_FILES, *OPTIONAL_FILES, *_evaluations(path))
        if name in RUN_FILES or (path / name).is_file()
    }
    for path in runs.values():
        for name in _evaluations(path):
            plain.check_folders(path / name, path)
    hashes = {n: {"sha256": plain.sha256(path), "size": path.stat().st_size} for n, path in sorted(files.items())}
    manifest = {"format": FORMAT, "suite_version": suite.__version__, "division": division, **texts, "files": hashes}
    check_manifest(manifest)

    def fill(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "x", allowZip64=False) as packed:
            _add(packed, "manifest.json", (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
            for name in hashes:
                _add(packed, name, plain.read(files[name]))

    try:
        atomic(out, fill)
    except zipfile.LargeZipFile:
        raise Unusable("the runs do not fit into one bundle; submit fewer at a time") from None
    return sha256(out)


def _evaluations(run: Path) -> list[str]:
    folders = sorted(path.parent.name for path in run.glob("evaluations/*/evaluation.json"))
    return [f"evaluations/{engine}/{name}" for engine in folders for name in EVALUATION_FILES]


def _add(packed: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name)  # its time is 1980: two packings of one run are the same file
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    packed.writestr(info, data)  # stored: Parquet is packed already, and zlib's bytes depend on its version


def read(path: Path, folder: Path, limits: Limits | None = None) -> Bundle:
    """Unpack a bundle into the new folder `folder` and check names, sizes and hashes.

    Raises:
        Unusable: with the reason. `OSError`: from the disk, which says nothing about the bundle. In both cases
            `folder` does not exist then.
    """
    folder.mkdir(parents=True)
    try:
        archive.unpack(path, folder, limits or Limits(), largest)
        manifest = read_json(folder / "manifest.json")
        check_manifest(manifest)
        _check_files(folder, manifest["files"])
        return Bundle(folder, sha256(path), manifest, _runs(manifest["files"]))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def largest(name: str) -> int:
    """The most bytes that a file of a bundle may have, by its name; 0 for a name that no bundle has."""
    if name == "manifest.json":
        return MAX_MANIFEST_BYTES
    if not (folder := _FOLDER.match(name)) or not name[folder.end() :].startswith("/"):
        return 0
    rest = name[folder.end() + 1 :]
    if evaluation := _EVALUATION.fullmatch(rest):
        known = evaluation[2] in EVALUATION_FILES
    else:
        known = rest in RUN_FILES or rest in OPTIONAL_FILES
    return MAX_BYTES[Path(rest).suffix] if known else 0


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Raise `Unusable` unless a manifest has every field, in its range."""
    for name, longest in TEXTS.items():
        if name in manifest:
            check_text(name, manifest[name], longest, empty=name == "description")
    schema.check_manifest(manifest)


def check_text(name: str, text: Any, longest: int, empty: bool = False) -> None:
    """Raise `Unusable` for a text that is none, empty, too long, or that could be taken for markup."""
    if not isinstance(text, str) or (not text.strip() and not empty):
        raise Unusable(f"the {name} is missing")
    if len(text) > longest:
        raise Unusable(f"the {name} has {len(text)} characters, more than {longest}")
    check_characters(name, text)


def check_characters(name: str, text: str) -> None:
    """Raise `Unusable` for angle brackets (HTML, scripts) and for characters that cannot be seen."""
    for character in text:
        if character in "<>" or (character not in "\n\t" and unicodedata.category(character) in _WEIRD):
            raise Unusable(f"the {name} holds the character {character!a}, which no submission may have")


def _check_files(folder: Path, files: Mapping[str, Any]) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    if missing := set(files) - found:
        raise Unusable(f"{ascii(sorted(missing)[0])[:120]} is in the manifest, but not in the bundle")
    if extra := found - set(files):
        raise Unusable(f"{sorted(extra)[0]} is in the bundle, but not in the manifest")
    for name, entry in files.items():
        if (folder / name).stat().st_size != entry["size"] or sha256(folder / name) != entry["sha256"]:
            raise Unusable(f"{name} is not the file whose SHA-256 the manifest has")


def _runs(files: Iterable[str]) -> tuple[str, ...]:
    runs = sorted({folder[0] for name in files if (folder := _FOLDER.match(name))})
    for run in runs:
        for name in RUN_FILES:
            if f"{run}/{name}" not in files:
                raise Unusable(f"{run} has no {name}")
    return tuple(runs)
