"""What has to be true of the output folder and the machine before anything is started."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import suite
from suite.errors import UserError, shown
from suite.execute import devices
from suite.runs.rundir import versions_in
from tasks.core import caches, engines

LONGEST = 3500  # bytes of the path of a folder for runs: Linux takes 4095, and run directories lie deep


def check_versions(out: Path) -> None:
    """Raise `UserError` if `out` is no folder for runs, or if it holds those of another suite version."""
    if len(os.fsencode(out.absolute())) > LONGEST:
        raise UserError(f"--out {shown(out)} has too long a path: {LONGEST} bytes are the most")
    try:
        if (out / "config.yaml").exists():
            raise UserError(f"--out {out} is a run directory itself; name the folder that holds the runs")
        others = versions_in(out)
    except OSError as error:
        raise UserError(f"--out {shown(out)} cannot be read: {error.strerror or error}") from None
    if others:
        raise UserError(
            f"--out {out} holds runs of suite version {', '.join(others)}, this is {suite.__version__};"
            " results of different versions are never compared: use another folder"
        )


def check_writable(out: Path) -> None:
    """Make the folder `out`; raise `UserError` if files cannot be written, replaced and linked there.

    Results and leases are only safe where a file appears under its name whole or not at all, and under a new name only
    once.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=out) as folder:
            missing = _probe(Path(folder))
        if not os.access(out, os.W_OK | os.X_OK):
            raise PermissionError("permission denied")
    except OSError as error:
        raise UserError(f"the folder {shown(out)} cannot be written: {error.strerror or error}") from None
    if missing:
        raise UserError(
            f"the folder {out} is on a file system without {missing}: a crash could leave half-written results there;"
            " use a local disk, NFS or Lustre (and --store URL for an object store)"
        )


def _probe(folder: Path) -> str:
    """What the file system of `folder` lacks, or ''."""
    old, new = folder / "old", folder / "new"
    old.write_text("old", encoding="utf-8")
    new.write_text("new", encoding="utf-8")
    try:
        os.replace(new, old)
    except OSError:
        return "atomic rename"
    if old.read_text(encoding="utf-8") != "new" or new.exists():
        return "atomic rename"
    try:
        os.link(old, new)
    except OSError:
        return "hard links"
    with suppress(FileExistsError):
        os.link(old, new)
        return "exclusive creation of files"
    return ""


def check_caches(names: Iterable[str]) -> None:
    """Let the simulators among engines have a cache that can be written; one line says so where it is an unusual one.

    Raises `UserError` where there is none.
    """
    if any(engines.get(name).simulator for name in names):
        try:
            caches.prepare()
        except caches.CacheError as error:
            raise UserError(str(error)) from None


def check_memory(slots: Sequence[str], simulators: int) -> None:
    """Raise `UserError` if this machine has not the memory for a worker with so many simulators in every slot."""
    if not simulators:
        return
    room = max(1, devices.memory() // (devices.WORKER_BYTES * simulators))
    if len(slots) > room:
        option = "--workers" if slots[0] == "cpu" else "--jobs-per-gpu"
        gigabytes = [round(value / 1e9) for value in (len(slots) * devices.WORKER_BYTES * simulators, devices.memory())]
        raise UserError(
            f"{len(slots)} runs at a time need about {gigabytes[0]} GB of memory, {gigabytes[1]} GB are free:"
            f" use a lower {option} (up to {room} at a time)"
        )
