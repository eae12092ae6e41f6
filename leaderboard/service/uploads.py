"""Taking in a bundle: who may, how much, and onto the disk without ever holding it in memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderboard.service.folders import Folders
from leaderboard.service.store import Duplicate, Store, Token

MIB = 2**20


class Rejected(Exception):
    """An upload that is not taken; `status` is HTTP's, the message is for the user."""

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        """`retry_after` [s] goes into the header of that name."""
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after


@dataclass(frozen=True)
class Limits:
    """How much one token, one address and the service as a whole may do."""

    bytes: int = 512 * MIB
    seconds: float = 1800.0  # for one upload
    per_day: int = 20  # uploads begun by a token
    waiting: int = 5  # submissions of a token in the queue
    at_once: int = 8  # uploads under way
    of_one: int = 2  # of those, by one token, and from one address
    rate: float = 4096.0  # [B/s] that an upload has to come with, over each `pause`
    pause: float = 30.0  # [s]
    failures: int = 20  # wrong tokens from one address in ten minutes


class Uploads:
    """Checks who uploads and how much, and receives bundles."""

    def __init__(self, store: Store, folders: Folders, limits: Limits) -> None:
        """Bundles go to `folders`, and into the queue of `store`."""
        self._store, self._folders, self._limits = store, folders, limits
        self._under_way: Counter[str] = Counter()
        self._failures: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def authorise(self, header: str | None, address: str) -> Token:
        """The token in an Authorization header. Raises `Rejected`."""
        self._slow_down(address)
        kind, _, secret = (header or "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise Rejected(401, "an upload needs the header Authorization: Bearer TOKEN")
        token = self._store.token(secret.strip())
        if token is None or token.refused:
            with self._lock:
                self._failures[address].append(time.monotonic())
            reason = token.refused if token else "the token is none of this leaderboard's"
            self._store.log("token refused", token=token.id if token else None, address=address, detail=reason)
            raise Rejected(401, reason)
        return token

    def _slow_down(self, address: str) -> None:
        horizon = time.monotonic() - 600
        with self._lock:
            for known in [a for a, times in self._failures.items() if not times or times[-1] < horizon]:
                del self._failures[known]
            recent = sum(t > horizon for t in self._failures.get(address, ()))
        if recent >= self._limits.failures:
            raise Rejected(429, "too many wrong tokens from this address", 600)

    def check_rate(self, token: Token, length: int | None, address: str) -> None:
        """Raise `Rejected` where a token has used up what it may, or the bundle says that it is too large."""
        if length is not None and length > self._limits.bytes:
            raise Rejected(413, f"a bundle may have {self._limits.bytes // MIB} MiB")
        if self._store.uploads_since(token.id, 86400) >= self._limits.per_day:
            raise Rejected(429, f"{self._limits.per_day} uploads a day are the most", 3600)
        if self._store.waiting(token.id) >= self._limits.waiting:
            raise Rejected(429, f"{self._limits.waiting} of your submissions are waiting; upload when one is done", 600)
        self._store.log("upload", token=token.id, address=address)

    @contextmanager
    def place(self, token: Token, address: str) -> Generator[None]:
        """Hold one of the places for uploads under way. Raises `Rejected` if all, or all of one's own, are taken."""
        own = (f"token {token.id}", f"address {address}")
        if self._under_way["all"] >= self._limits.at_once:
            raise Rejected(503, "too many uploads at once", 30)
        if max(self._under_way[name] for name in own) >= self._limits.of_one:
            raise Rejected(429, f"{self._limits.of_one} of your uploads are under way; try again when one is done", 30)
        self._under_way.update(("all", *own))
        try:
            yield
        finally:
            self._under_way.subtract(("all", *own))
            self._under_way += Counter()  # which drops what is zero

    async def receive(self, chunks: AsyncIterator[bytes], run: Callable[..., Awaitable[Any]]) -> tuple[Path, str, int]:
        """Write an upload to the disk; returns the file, its SHA-256 and size. `run` calls a function in a thread.

        Raises `Rejected` for one that is no zip, too large or too slow; whatever is raised, no file is left.
        """
        path = self._folders.incoming / secrets.token_hex(16)
        digest, size = hashlib.sha256(), 0
        loop = asyncio.get_running_loop()
        latest, since = loop.time() + self._limits.seconds, 0
        try:
            async with asyncio.timeout_at(min(latest, loop.time() + self._limits.pause)) as limit:
                with path.open("xb") as file:
                    async for chunk in chunks:
                        size += len(chunk)
                        if size - since >= self._limits.rate * self._limits.pause:
                            limit.reschedule(min(latest, loop.time() + self._limits.pause))
                            since = size
                        if size > self._limits.bytes:
                            raise Rejected(413, f"a bundle may have {self._limits.bytes // MIB} MiB")
                        if size == len(chunk) and chunk and not chunk.startswith(b"PK"[: len(chunk)]):
                            raise Rejected(415, "not a zip file; make one with python -m leaderboard.submit")
                        digest.update(chunk)
                        await run(file.write, chunk)
                    file.flush()
                    await run(os.fsync, file.fileno())
            if not size:
                raise Rejected(400, "the upload is empty")
        except TimeoutError:
            path.unlink(missing_ok=True)
            raise Rejected(408, "the upload was too slow") from None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path, digest.hexdigest(), size

    def keep(self, path: Path, sha256: str, size: int, token: Token, address: str) -> int:
        """Queue a received bundle; returns the submission's id. Raises `Rejected` if it was submitted before."""
        try:
            os.replace(path, self._folders.bundle(sha256))  # if there is one already, it has the same bytes
            return self._store.add(sha256, size, token, address)
        except Duplicate as error:
            raise Rejected(409, str(error)) from None
        finally:
            path.unlink(missing_ok=True)
