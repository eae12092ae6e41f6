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
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import suite
from leaderboard import plain
from leaderboard.schema import MAX_JSON_BYTES, SHA256, Unusable, read_json
from suite.rundir import FILES, atomic, paths_of, sha256

FORMAT = 1
DIVISIONS = ("closed", "open")
TEXTS = {"title": 120, "submitter": 64, "contact": 120, "description": 2000}  # name and longest length
RUN_FILES = paths_of(lambda file: file.submitted == "always")
OPTIONAL_FILES = paths_of(lambda file: file.submitted == "optional")
EVALUATION_FILES = (FILES["evaluation"].path, FILES["episodes"].path)

MIB = 2**20
MAX_BYTES = {".json": MAX_JSON_BYTES, ".yaml": MIB // 4, ".parquet": 64 * MIB, ".safetensors": 64 * MIB}
MAX_ENTRIES = 10_000
MAX_DIRECTORY = 4 * MIB  # of the zip's table of contents
CHUNK = MIB // 4

_PART = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}"
_FOLDER = re.compile(rf"runs/{_PART}/{_PART}/{_PART}/[A-Za-z0-9][A-Za-z0-9_.+-]{{0,127}}/seed[0-9]{{1,9}}")
_EVALUATION = re.compile(rf"evaluations/({_PART})/(.+)")
_END = struct.Struct("<4s4H2LH")
_WEIRD = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")  # Unicode: control, format (text direction), unassigned


@dataclass(frozen=True)
class Limits:
    """How large a bundle may be. `ratio` is bytes unpacked per byte packed, for files above 1 MiB."""

    packed: int = 512 * MIB
    unpacked: int = 1024 * MIB
    ratio: int = 100


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
        with zipfile.ZipFile(temporary, "x", allowZip64=False) as archive:
            _add(archive, "manifest.json", (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
            for name in hashes:
                _add(archive, name, plain.read(files[name]))

    try:
        atomic(out, fill)
    except zipfile.LargeZipFile:
        raise Unusable("the runs do not fit into one bundle; submit fewer at a time") from None
    return sha256(out)


def _evaluations(run: Path) -> list[str]:
    folders = sorted(path.parent.name for path in run.glob("evaluations/*/evaluation.json"))
    return [f"evaluations/{engine}/{name}" for engine in folders for name in EVALUATION_FILES]


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name)  # its time is 1980: two packings of one run are the same file
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    archive.writestr(info, data)  # stored: Parquet is packed already, and zlib's bytes depend on its version


def read(path: Path, folder: Path, limits: Limits | None = None) -> Bundle:
    """Unpack a bundle into the new folder `folder` and check names, sizes and hashes.

    Raises:
        Unusable: with the reason; then `folder` does not exist.
    """
    limits = limits or Limits()
    folder.mkdir(parents=True)
    try:
        digest = _unpack(path, folder, limits)
        manifest = read_json(folder / "manifest.json")
        check_manifest(manifest)
        _check_files(folder, manifest["files"])
        return Bundle(folder, digest, manifest, _runs(manifest["files"]))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Unusable(f"{path.name} cannot be read: {error.strerror or error}") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _unpack(path: Path, folder: Path, limits: Limits) -> str:
    if (size := path.stat().st_size) > limits.packed:
        raise Unusable(f"the bundle has {size // MIB} MiB, more than {limits.packed // MIB} MiB")
    _check_end(path, size)
    left = limits.unpacked
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_names(members)
            for member in members:
                left -= _extract(archive, member, folder, left, limits)
    except Unusable:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise Unusable(f"damaged zip: {' '.join(str(error).split())[:120]}") from None
    return sha256(path)


def _check_end(path: Path, size: int) -> None:
    """The zip has to be one plain archive: nothing before it, nothing after it, and a small table of contents."""
    with path.open("rb") as file:
        file.seek(max(0, size - _END.size))
        tail = file.read()
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        raise Unusable("not a zip file, or one that was cut off")
    _, disk, start_disk, on_disk, entries, length, offset, comment = _END.unpack(tail)
    if disk or start_disk or on_disk != entries or comment or offset + length != size - _END.size:
        raise Unusable("not one plain zip archive: it has parts before, after or elsewhere")
    if entries > MAX_ENTRIES or length > MAX_DIRECTORY:
        raise Unusable(f"the zip has {entries} entries; {MAX_ENTRIES} are the most")


def _check_names(members: Iterable[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for member in members:
        name = member.orig_filename  # `filename` is cut at a zero byte
        shown = ascii(name[:80])
        if name.lower() in seen:
            raise Unusable(f"{shown} is in the zip twice")
        seen.add(name.lower())
        kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == 3 else 0
        if kind == stat.S_IFLNK:
            raise Unusable(f"{shown} is a link")
        if kind not in (0, stat.S_IFREG) or member.is_dir():
            raise Unusable(f"{shown} is not a plain file")
        if not is_bundle_name(name):
            raise Unusable(f"{shown} is not a name that a bundle may have")
        if member.flag_bits & 0x1:
            raise Unusable(f"{shown} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unusable(f"{shown} is packed in another way than stored or deflated")


def is_bundle_name(name: str) -> bool:
    """True for the manifest and for the files of run directories, at their place."""
    if name == "manifest.json":
        return True
    if not (folder := _FOLDER.match(name)) or not name[folder.end() :].startswith("/"):
        return False
    rest = name[folder.end() + 1 :]
    if evaluation := _EVALUATION.fullmatch(rest):
        return evaluation[2] in EVALUATION_FILES
    return rest in RUN_FILES or rest in OPTIONAL_FILES


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, left: int, limits: Limits) -> int:
    """Unpack one file, counting what really comes out; returns its size."""
    most = MAX_BYTES[Path(member.filename).suffix]
    target = folder / member.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(member) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise Unusable(f"{member.filename} has more than {most // MIB or 1} MiB")
            if size > left:
                raise Unusable(f"unpacked, the bundle has more than {limits.unpacked // MIB} MiB")
            if size > MIB and size > limits.ratio * max(1, member.compress_size):
                raise Unusable(f"{member.filename} is packed more than {limits.ratio} times: a zip bomb")
            file.write(chunk)
    if size != member.file_size:
        raise Unusable(f"{member.filename} has {size} bytes, the zip says {member.file_size}")
    return size


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Raise `Unusable` unless a manifest has every field, in its range."""
    if manifest.get("format") != FORMAT:
        raise Unusable(f"bundle format {manifest.get('format')!r}; this version reads {FORMAT}")
    if (version := manifest.get("suite_version")) != suite.__version__:
        raise Unusable(f"of suite version {str(version)[:40]!r}; this is {suite.__version__}")
    if manifest.get("division") not in DIVISIONS:
        raise Unusable(f"the division has to be {' or '.join(DIVISIONS)}")
    for name, longest in TEXTS.items():
        check_text(name, manifest.get(name), longest, empty=name == "description")
    files = manifest.get("files")
    known = {"format", "suite_version", "division", "files", *TEXTS}
    if extra := set(manifest) - known:
        raise Unusable(f"manifest.json has an unknown field {ascii(sorted(extra)[0])[:60]}")
    if not isinstance(files, dict) or not files:
        raise Unusable("manifest.json lists no files")
    for name, entry in files.items():
        whole = isinstance(entry, dict) and set(entry) == {"sha256", "size"}
        if not whole or not SHA256.fullmatch(str(entry["sha256"])) or type(entry["size"]) is not int:
            raise Unusable(f"manifest.json needs sha256 and size of {ascii(name)[:80]}")


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
    runs = sorted({_FOLDER.match(name)[0] for name in files})
    for run in runs:
        for name in RUN_FILES:
            if f"{run}/{name}" not in files:
                raise Unusable(f"{run} has no {name}")
    return tuple(runs)
