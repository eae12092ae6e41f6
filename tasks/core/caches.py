"""Where caches are: this user's folder, or, where that cannot be written, one among the temporary files.

| cache | holds | environment variable |
|---|---|---|
| `gradus` | robots as USD | `GRADUS_CACHE` |
| `warp` | compiled simulation kernels | `WARP_CACHE_PATH` |
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from functools import cache
from pathlib import Path

import platformdirs

VARIABLES = {"gradus": "GRADUS_CACHE", "warp": "WARP_CACHE_PATH"}


class CacheError(RuntimeError):
    """No folder can be written; the message says what to do."""


def wanted(name: str) -> Path:
    """Where a cache belongs: as its environment variable says, or in the user's cache folder."""
    return Path(os.environ.get(VARIABLES[name]) or platformdirs.user_cache_dir(name))


def why_not(folder: Path) -> str:
    """Why files cannot be made in a folder, which is made if it is not there; '' if they can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def usable(name: str) -> Path:
    """`wanted(name)`, or a temporary folder of this user's where that cannot be written; one line says so once.

    Raises `CacheError` if that cannot be written either.
    """
    folder = wanted(name)
    return folder if not (why := why_not(folder)) else _instead(name, folder, why)


def prepare() -> None:
    """Give Warp a cache that can be written. Call before Warp is imported; processes started later inherit it."""
    if (folder := usable("warp")) != wanted("warp"):
        os.environ[VARIABLES["warp"]] = str(folder)


@cache
def _instead(name: str, folder: Path, why: str) -> Path:
    what = f"the cache {folder} cannot be written ({why})"
    advice = f"set {VARIABLES[name]} to a folder that can"
    try:
        other = Path(tempfile.gettempdir()) / f"{name}-cache-{os.getuid()}"
        other.mkdir(mode=0o700, exist_ok=True)
        found = other.lstat()
    except OSError as error:
        raise CacheError(f"{what}, and neither can temporary files ({error.strerror or error}); {advice}") from None
    # Everybody may make folders there, and who makes this one chooses what kernels are.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise CacheError(f"{what}, and {other} is not this user's alone; {advice}")
    if also := why_not(other):
        raise CacheError(f"{what}, and neither can {other} ({also}); {advice}")
    print(f"{what}: using {other}, which may be gone after a restart; {advice}", file=sys.stderr, flush=True)
    return other
