"""The queue: verifications in processes of their own, and the site rebuilt after what they accept.

One thread does all of it, so two verdicts are never recorded at the same time. Whatever is under way when the
service is killed is done again at the next start: the database says what was submitted, and a verdict counts only
when it has been recorded there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

from leaderboard.isolation import environment
from leaderboard.service.folders import Folders
from leaderboard.service.store import Store
from suite import process
from suite.rundir import read_json

TICK_S = 0.25
TRIES = 3
STATE_AFTER = {"accepted": "accepted", "refused": "refused", "undecided": "failed"}


@dataclass(frozen=True)
class Settings:
    """How submissions are verified: `verify` are arguments of leaderboard.verify, `workers` at the same time."""

    workers: int = 1
    verify: tuple[str, ...] = ()


class Queue:
    """Works until it is stopped."""

    def __init__(self, store: Store, folders: Folders, settings: Settings) -> None:
        """`start` starts it."""
        self._store, self._folders, self._settings = store, folders, settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)
        self._verifying: dict[int, subprocess.Popen] = {}
        self._building: tuple[Path, subprocess.Popen] | None = None
        self._unbuildable: Path | None = None

    def start(self) -> None:
        """Go on where the last service stopped."""
        self._store.resume()
        self._thread.start()

    def stop(self) -> None:
        """End the processes; their submissions go on at the next start."""
        self._stop.set()
        self._thread.join()
        for child in (*self._verifying.values(), *([self._building[1]] if self._building else [])):
            process.kill(child)
            child.wait()

    @property
    def alive(self) -> bool:
        """False if the thread has ended."""
        return self._thread.is_alive()

    def _work(self) -> None:
        while not self._stop.wait(TICK_S):
            try:
                self._verify()
                self._build()
            except Exception:  # the disk is full, the database away: said in the service's log, and tried again
                traceback.print_exc()
                self._stop.wait(5.0)

    def _verify(self) -> None:
        for number, child in list(self._verifying.items()):
            if child.poll() is not None:
                self._record(number, child.returncode)
                del self._verifying[number]
        while len(self._verifying) < self._settings.workers and (row := self._store.claim()):
            shutil.rmtree(self._folders.verified(row.id), ignore_errors=True)  # of a try that was not recorded
            self._folders.verdict(row.id).unlink(missing_ok=True)
            self._verifying[row.id] = self._start(
                "leaderboard.verify",
                str(self._folders.bundle(row.sha256)),
                *("--out", str(self._folders.verdict(row.id)), "--unpack", str(self._folders.verified(row.id))),
                *("--submitter", row.submitter, *self._settings.verify),
                log=self._folders.log(row.id),
            )

    def _record(self, number: int, code: int) -> None:
        verdict = read_json(self._folders.verdict(number))
        if verdict is None:
            why = process.reason(code, self._folders.log(number))
            if self._store.get(number).attempts < TRIES:
                self._store.queue_again(number, f"the verification ended without a verdict: {why}")
            else:
                self._store.decide(number, "failed", f"the verification ended {TRIES} times without a verdict", {})
            return
        state = self._store.decide(number, STATE_AFTER[verdict["decision"]], verdict["reason"], verdict)
        if state != "accepted":
            shutil.rmtree(self._folders.verified(number), ignore_errors=True)

    def _build(self) -> None:
        if self._building is not None:
            wanted, child = self._building
            if child.poll() is None:
                return
            self._building = None
            if child.returncode == 0:
                os.replace(wanted.with_name(f".{wanted.name}"), wanted)
                self._folders.serve(wanted)
                self._store.log("site built", detail=wanted.name)
            else:
                self._unbuildable = wanted  # until another submission is accepted
                self._store.log("site not built", detail=process.last_line(self._folders.root / "build.log"))
        accepted = [row.id for row in self._store.of_state("accepted")]
        self._folders.settle(accepted)
        wanted = self._folders.site_for(accepted)
        if not accepted or wanted in (self._folders.served(), self._unbuildable):
            return
        shutil.rmtree(wanted, ignore_errors=True)
        draft = wanted.with_name(f".{wanted.name}")
        shutil.rmtree(draft, ignore_errors=True)
        log = self._folders.root / "build.log"
        options = ("--out", str(draft), "--submissions", "/submissions")
        child = self._start("leaderboard.build", str(self._folders.accepted), *options, log=log)
        self._building = wanted, child

    @staticmethod
    def _start(*arguments: str, log: Path) -> subprocess.Popen:
        """A process that sees no secrets of the service, ends with it, and whose children can all be reached."""
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,
            )
