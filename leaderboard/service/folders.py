"""The service's folder on the disk, and the site in it that is replaced as a whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import suite
from suite.errors import UserError
from suite.runs.rundir import read_json, write_json

if TYPE_CHECKING:
    from leaderboard.service.store import Store

NOT_THIS = "check GRADUS_DATABASE and --data; if they are right, let them belong together with the command adopt"


@dataclass(frozen=True)
class Folders:
    """Where things lie below `root`."""

    root: Path

    @property
    def incoming(self) -> Path:
        """Uploads that are under way; emptied at every start."""
        return self.root / "incoming"

    @property
    def accepted(self) -> Path:
        """The runs of accepted submissions: what the site is built from."""
        return self.root / "accepted"

    @property
    def sites(self) -> Path:
        """Sites by what they were built from."""
        return self.root / "sites"

    @property
    def site(self) -> Path:
        """A link to the site that is served."""
        return self.root / "site"

    @property
    def identity(self) -> Path:
        """Which database the folder belongs to."""
        return self.root / "identity.json"

    def bundle(self, sha256: str) -> Path:
        """A submitted bundle."""
        return self.root / "bundles" / f"{sha256}.zip"

    def verdict(self, submission: int) -> Path:
        """The verdict on a submission."""
        return self.root / "verdicts" / f"{submission}.json"

    def log(self, submission: int) -> Path:
        """Output of a verification."""
        return self.root / "verdicts" / f"{submission}.log"

    def verified(self, submission: int) -> Path:
        """The runs of a submission whose verdict is `accepted`, until the database says so too."""
        return self.root / "verified" / str(submission)

    def trial(self, submission: int) -> Path:
        """The site of a submission alone, built to see that it can be shown."""
        return self.sites / f".trial-{submission}"

    def settle(self, submissions: Iterable[int]) -> None:
        """Move the runs of accepted submissions to the folder that the site is built from, unless they are there."""
        for number in submissions:
            if self.verified(number).exists():
                os.replace(self.verified(number), self.accepted / str(number))

    def check(self, store: Store) -> None:
        """Raise `UserError` if the folder and the database do not belong together: one would clear up the other.

        Each has the other's identity. A new folder and a new database have none yet.
        """
        known = read_json(self.identity) or {}
        if known and known.get("database") != store.identity:
            raise UserError(f"{self.root} belongs to another database: {NOT_THIS}")
        if store.folder and known.get("folder") != store.folder:
            raise UserError(f"the database belongs to another folder than {self.root}: {NOT_THIS}")
        if not known and not store.hashes() and any((self.root / "bundles").glob("*.zip")):
            raise UserError(f"{self.root} has bundles, and the database has no submission: {NOT_THIS}")

    def adopt(self, store: Store) -> None:
        """Bind the folder and the database to each other, whatever they belonged to before."""
        folder = secrets.token_hex(16)
        write_json(self.identity, {"database": store.identity, "folder": folder})
        store.bind(folder)

    def prepare(self, store: Store) -> int:
        """Make the folders, clear up after an interrupted service, and hold them until this process ends.

        Nothing that may be a submission is deleted: what the database does not know goes to `unknown`. The result is
        the lock's file descriptor.

        Raises:
            UserError: if another service holds the folder, or it belongs to another database.
        """
        below = (self.root / name for name in ("bundles", "verdicts", "verified"))
        for path in (self.incoming, self.accepted, self.sites, *below):
            path.mkdir(parents=True, exist_ok=True)
        held = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise UserError(f"another service works in {self.root}; stop it, or choose another --data") from None
        try:
            self.check(store)
            if not store.folder:
                self.adopt(store)
            self._clear(store)
        except BaseException:
            os.close(held)
            raise
        return held

    def _clear(self, store: Store) -> None:
        for path in (*self.incoming.iterdir(), *(self.root / "verified").glob(".*"), *self.sites.glob(".*")):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        bundles, accepted = store.hashes(), {str(row.id) for row in store.of_state("accepted")}
        for path in (self.root / "bundles").iterdir():
            if path.suffix != ".zip" or path.stem not in bundles:
                self._put_aside(path)
        for path in self.accepted.iterdir():
            if path.name not in accepted:
                self._put_aside(path)

    def _put_aside(self, path: Path) -> None:
        aside = self.root / "unknown"
        aside.mkdir(exist_ok=True)
        target = aside / f"{path.parent.name}-{path.name}"
        while os.path.lexists(target):
            target = target.with_name(f"{target.name}.again")
        path.rename(target)
        print(f"{path} is of no submission that the database knows; it is now {target}", file=sys.stderr)

    def site_for(self, submissions: Iterable[int]) -> Path:
        """Where the site of these accepted submissions is, or will be."""
        text = ",".join(map(str, sorted(submissions)))
        return self.sites / hashlib.sha256(f"{suite.__version__}:{text}".encode()).hexdigest()[:16]

    def served(self) -> Path | None:
        """The site that is served, or None."""
        return self.sites / os.readlink(self.site).rpartition("/")[2] if self.site.is_symlink() else None

    def serve(self, built: Path) -> None:
        """Serve `built` from now on. A request gets the old site or the new one, never parts of both."""
        temporary = self.root / ".site"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(built.relative_to(self.root))
        before = self.served()
        os.replace(temporary, self.site)
        for old in self.sites.iterdir():  # the one before stays for requests that are under way
            if old not in (built, before) and not old.name.startswith("."):
                shutil.rmtree(old, ignore_errors=True)
