"""The service's folder on the disk, and the site in it that is replaced as a whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import suite
from suite.errors import UserError


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

    def settle(self, submissions: Iterable[int]) -> None:
        """Move the runs of accepted submissions to where the site is built from, unless they are there."""
        for number in submissions:
            if self.verified(number).exists():
                os.replace(self.verified(number), self.accepted / str(number))

    def prepare(self, known: set[str]) -> int:
        """Make the folders, remove what an interrupted service left, and hold them until this process ends.

        `known` are the hashes of bundles that were submitted. The result is the lock's file descriptor.

        Raises:
            UserError: if another service holds the folder.
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
        for path in self.incoming.iterdir():
            path.unlink()
        for path in (self.root / "bundles").iterdir():
            if path.stem not in known:
                path.unlink()
        for path in (*(self.root / "verified").glob(".*"), *self.sites.glob(".*")):
            shutil.rmtree(path)
        return held

    def site_for(self, submissions: Iterable[int]) -> Path:
        """Where the site of these accepted submissions lies, or will."""
        text = ",".join(map(str, sorted(submissions)))
        return self.sites / hashlib.sha256(f"{suite.__version__}:{text}".encode()).hexdigest()[:16]

    def served(self) -> Path | None:
        """The site that is served, or None."""
        return self.sites / os.readlink(self.site).rpartition("/")[2] if self.site.is_symlink() else None

    def serve(self, built: Path) -> None:
        """Serve `built` from now on; whoever asks gets the old site or the new one, never a mixture's half."""
        temporary = self.root / ".site"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(built.relative_to(self.root))
        before = self.served()
        os.replace(temporary, self.site)
        for old in self.sites.iterdir():  # the one before stays for requests that are under way
            if old not in (built, before):
                shutil.rmtree(old, ignore_errors=True)
