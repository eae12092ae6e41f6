"""Which live process works on a folder: a lease that any number of commands on any number of machines respect.

The lease of generation n is the file `.lease.<n>` in the folder, and the highest generation counts. Whoever takes a
folder over from a process that is gone creates generation n + 1, which only one can do, because `link` fails where the
name exists. The highest generation is never deleted, so one who comes late always sees that it lost. An empty file is
a lease that was given back.

The holder moves the file's mtime. Others look whether it moves while their own monotonic clock runs, so no clock is
compared with another one, and a clock that jumps changes nothing. On the holder's own machine its process is looked up
instead, and a dead one is succeeded at once.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

LEASE_S = 60.0  # [s] without a sign of life after which a holder on another machine counts as dead
BEAT_S = 5.0  # [s] between two signs of life
PROC = Path("/proc")
_PREFIX = ".lease."
_GENERATION = re.compile(r"[1-9][0-9]{0,17}")
_DAMAGED = "damaged"
_LONGEST = 4096  # [bytes] of a lease


class Lost(RuntimeError):
    """Another process has taken over the folder."""


class Lease:
    """The right to work on a folder, until it is given back or lost."""

    def __init__(self, folder: Path, generation: int) -> None:
        """`generation` is that of a lease which this process, or the one that started it, created."""
        self.folder, self.generation = folder, generation
        self._file = folder / f"{_PREFIX}{generation}"
        self._beat_ns = 0
        self._next = 0.0

    def adopt(self) -> None:
        """Make this process the holder, in place of the one that created the lease for it. Raises `Lost`."""
        temporary = _write(self.folder)
        os.replace(temporary, self._file)
        self._check()

    def held_here(self) -> bool:
        """True as long as no other process has adopted it."""
        try:
            return _parse(_read(self._file)[0]) == _identity()
        except OSError:
            return False

    def beat(self) -> None:
        """Give a sign of life, if it is time for one.

        Raises:
            Lost: if there is a newer lease.
            OSError: if the file system does not answer; the lease ends if that lasts.
        """
        if time.monotonic() < self._next:
            return
        self._check()
        self._beat_ns = max(time.time_ns(), self._beat_ns + 1)  # moves, whatever the clock does
        try:
            os.utime(self._file, ns=(self._beat_ns, self._beat_ns))
        except FileNotFoundError:
            raise Lost(f"the lease on {self.folder} was removed") from None
        self._next = time.monotonic() + BEAT_S

    def give_back(self) -> None:
        """Release the folder; this needs no space on the disk."""
        with suppress(OSError):
            os.truncate(self._file, 0)

    def _check(self) -> None:
        if highest(self.folder) > self.generation:
            raise Lost(f"another process has taken over {self.folder}")


class Claimant:
    """Asks for the lease of a folder from time to time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damaged = False  # the lease that counts says nothing of its holder, so only the clock can end it
        self._seen: tuple[object, ...] = ()
        self._since = 0.0

    def claim(self) -> Lease | None:
        """The lease, or None while somebody else has it. Raises `OSError` if the folder cannot be written."""
        latest = highest(self._folder)
        return _create(self._folder, latest + 1) if self._ended(latest) else None

    def free(self) -> bool:
        """Whether `claim` may succeed now."""
        return self._ended(highest(self._folder))

    def _ended(self, generation: int) -> bool:
        if not generation:
            return True
        try:
            holder, mtime = _read(self._folder / f"{_PREFIX}{generation}")
        except FileNotFoundError:
            return False  # just succeeded by another
        if not holder:
            return True
        self.damaged = _parse(holder) is None
        alive = _alive(holder)
        if alive is not None:
            return not alive
        seen = (generation, holder, mtime)
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since > LEASE_S


def holder_alive(folder: Path) -> bool | None:
    """True if a live process of this machine holds the lease, False if nobody does, None if that cannot be known."""
    latest = highest(folder)
    try:
        content, _ = _read(folder / f"{_PREFIX}{latest}")
    except OSError:
        return False
    return _alive(content) if content else False


def highest(folder: Path) -> int:
    """The generation that counts; 0 if there is none."""
    try:
        with os.scandir(folder) as entries:
            generations = [e.name[len(_PREFIX) :] for e in entries if e.name.startswith(_PREFIX)]
    except FileNotFoundError:  # somebody removed the run
        return 0
    return max((int(text) for text in generations if _GENERATION.fullmatch(text)), default=0)


def _create(folder: Path, generation: int) -> Lease | None:
    temporary = _write(folder)
    try:
        with suppress(FileExistsError):
            os.link(temporary, folder / f"{_PREFIX}{generation}")
        won = os.stat(temporary).st_nlink == 2  # over NFS the answer to `link` may have been lost
    finally:
        temporary.unlink()
    if not won:
        return None
    if highest(folder) > generation:  # what was seen before is long past
        (folder / f"{_PREFIX}{generation}").unlink(missing_ok=True)
        return None
    for older in range(generation - 1, 0, -1):
        try:
            (folder / f"{_PREFIX}{older}").unlink()
        except OSError:  # the first that is gone, or one that is no file
            break
    return Lease(folder, generation)


def _write(folder: Path) -> Path:
    temporary = folder / f"{_PREFIX}new-{uuid.uuid4().hex}"
    try:
        temporary.write_text(json.dumps(_identity()), encoding="utf-8")
    except OSError:  # a full disk gets fuller with every try otherwise
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _identity() -> dict[str, object]:
    return {"machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def _read(file: Path) -> tuple[str, int]:
    """What a lease says, and its mtime [ns]. What is no plain file, a folder or a link say, says something damaged."""
    try:
        # Opened, because network file systems look at the server then; a pipe would be waited for otherwise.
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return _DAMAGED, 0
        raise
    try:
        found = os.fstat(opened)
        content = os.read(opened, _LONGEST) if stat.S_ISREG(found.st_mode) else _DAMAGED.encode()
        return content.decode(errors="replace"), found.st_mtime_ns
    finally:
        os.close(opened)


def _parse(holder: str) -> dict[str, Any] | None:
    """The holder, or None where a damaged lease does not say who it is."""
    try:
        found = json.loads(holder)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(found, dict) and found.keys() == _identity().keys()
    return found if whole and isinstance(found["pid"], int) and found["pid"] > 0 else None


def _alive(holder: str) -> bool | None:
    """Whether the holder's process runs, or None if that cannot be seen: it is of another machine or container, say."""
    found = _parse(holder)
    if found is None or found["machine"] != _machine():
        return None
    started = _started(found["pid"])
    if started is None and _hidden(found["pid"]):
        return None
    return started == found["started"] is not None


def _hidden(pid: int) -> bool:
    """True if there is a process that /proc does not show: mounted with hidepid, it shows a user their own only."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return not (PROC / str(pid)).exists()


@cache
def _machine() -> str:
    """This boot of this machine, and its space of process ids: containers have their own."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _started(pid: int) -> str | None:
    """When the process started [ticks since boot], which tells it from a later one of that number; None if dead."""
    try:
        state, *fields = (
            (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
