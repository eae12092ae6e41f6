"""Paths that the command line names."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from suite.errors import shown


def as_path(text: str | Path) -> Path:
    """A path that the file system can have. Raises `ValueError` for any other text."""
    if not str(text):
        raise ValueError("expected a path, got an empty text")
    try:
        os.lstat(text)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise ValueError(f"{error.strerror}: {shown(text)}") from None
    return Path(text)
