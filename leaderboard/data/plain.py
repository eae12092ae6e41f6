"""Files of a run directory, which may be a stranger's: only plain files of a bounded size are opened."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from suite import untrusted
from suite.untrusted import Unusable

MIB = 2**20
LARGEST = {  # [B] of a file by the end of its name
    ".json": 16 * MIB,
    ".yaml": MIB,
    ".parquet": 256 * MIB,
    ".safetensors": 1024 * MIB,
}


@contextmanager
def opened(path: Path, most: int | None = None) -> Generator[BufferedReader]:
    """The file `path`, to be read; it has at most `most` bytes (by default what `LARGEST` says).

    Raises:
        Unusable: for a link, for what is not a plain file, and for one that is larger.
        OSError: if it cannot be opened.
    """
    with untrusted.opened(path, LARGEST[path.suffix] if most is None else most) as file:
        yield file


def read(path: Path, most: int | None = None) -> bytes:
    """The content of a file, see `opened`."""
    with opened(path, most) as file:
        return file.read(LARGEST[path.suffix] if most is None else most)


def sha256(path: Path) -> str:
    """The hash of a file, see `opened`."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(path: Path, target: Path) -> int:
    """Copy a file to the new file `target`; returns its bytes. See `opened`."""
    with opened(path) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file)
        return file.tell()


def is_plain(path: Path) -> bool:
    """True for a file that is there and that `opened` opens."""
    try:
        with opened(path):
            return True
    except (OSError, Unusable):
        return False


def check_folders(path: Path, root: Path) -> None:
    """Raise `Unusable` if a folder between `root` and the file `path` below it is a link."""
    for folder in path.parents:
        if folder == root:
            return
        if folder.is_symlink():
            raise Unusable(f"{folder.name} is a link")
