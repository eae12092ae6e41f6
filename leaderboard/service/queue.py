"""The queue: verifications in processes of their own, and the site rebuilt after what they accept.

One thread does all of it, so two verdicts are never recorded at the same time. Whatever is under way when the
service is killed is done again at the next start: the database says what was submitted, and a verdict counts only
when it has been recorded there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderboard.service.folders import Folders
from leaderboard.service.store import Store
from leaderboard.submissions.isolation import environment
from suite.errors import printable
from suite.execute import process
from suite.runs.rundir import read_json

TICK_S = 0.25
TRIES = 3
AGAIN_S = 600.0  # after which a site that could not be built is tried again: the disk may have been full
PATH = re.compile(r"(?<![\w./:])/(?:[^\s/:'\"]+/)+([^\s/:'\"]*)")
STATE_AFTER = {"accepted": "accepted", "refused": "refused", "undecided": "failed"}


@dataclass(frozen=True)
class Settings:
    """How submissions are verified: `verify` are arguments of leaderboard.verify, `workers` at the same time."""

    workers: int = 1
    verify: tuple[str, ...] = ()


def public(text: str) -> str:
    """A reason that everyone may read: one line, with only the last parts of paths on this machine."""
    return printable(PATH.sub(r"\1", text))


class Queue:
    """Verifies submissions and rebuilds the site, from `start` until `stop`."""

    def __init__(self, store: Store, folders: Folders, settings: Settings) -> None:
        self._store, self._folders, self._settings = store, folders, settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)
        self._verifying: dict[int, subprocess.Popen[bytes]] = {}
        self._showing: dict[int, subprocess.Popen[bytes]] = {}  # builds of what was just verified, alone
        self._building: tuple[Path, subprocess.Popen[bytes]] | None = None
        self._unbuildable: tuple[Path, float] | None = None  # and when to try again

    def start(self) -> None:
        """Go on where the last service stopped."""
        self._store.resume()
        self._thread.start()

    def stop(self) -> None:
        """End the processes; their submissions go on at the next start."""
        self._stop.set()
        self._thread.join()
        building = [self._building[1]] if self._building else []
        for child in (*self._verifying.values(), *self._showing.values(), *building):
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
        for number, child in list(self._showing.items()):
            if child.poll() is not None:
                self._record_shown(number, child.returncode)
                del self._showing[number]
        under_way = len(self._verifying) + len(self._showing)
        while under_way < self._settings.workers and (row := self._store.claim()):
            under_way += 1
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
            why = public(process.reason(code, self._folders.log(number)))
            submission = self._store.get(number)
            if submission is not None and submission.attempts < TRIES:
                self._store.queue_again(number, f"the verification ended without a verdict: {why}")
            else:
                self._store.decide(number, "failed", f"the verification ended {TRIES} times without a verdict", {})
        elif verdict["decision"] == "accepted":
            # What cannot be shown must not get among the runs that the site is built from.
            self._showing[number] = self._start(
                "leaderboard.build",
                *(str(self._folders.verified(number)), "--out", str(self._folders.trial(number)), "--strict"),
                log=self._folders.log(number),
            )
        else:
            self._decide(number, STATE_AFTER[verdict["decision"]], verdict["reason"], verdict)

    def _record_shown(self, number: int, code: int) -> None:
        shutil.rmtree(self._folders.trial(number), ignore_errors=True)
        verdict = read_json(self._folders.verdict(number)) or {}
        if code == 0:
            self._decide(number, "accepted", verdict["reason"], verdict)
        else:
            why = process.reason(code, self._folders.log(number))
            self._decide(number, "failed", f"its runs hold, but their pages cannot be made: {why}", verdict)

    def _decide(self, number: int, state: str, reason: str, verdict: dict[str, Any]) -> None:
        state = self._store.decide(number, state, public(reason), verdict)
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
                self._unbuildable = wanted, time.monotonic() + AGAIN_S
                self._store.log("site not built", detail=process.last_line(self._folders.root / "build.log"))
        accepted = [row.id for row in self._store.of_state("accepted")]
        self._folders.settle(accepted)
        wanted = self._folders.site_for(accepted)
        if not accepted or wanted == self._folders.served():
            return
        if self._unbuildable and self._unbuildable[0] == wanted and time.monotonic() < self._unbuildable[1]:
            return
        shutil.rmtree(wanted, ignore_errors=True)
        draft = wanted.with_name(f".{wanted.name}")
        shutil.rmtree(draft, ignore_errors=True)
        log = self._folders.root / "build.log"
        options = ("--out", str(draft), "--submissions", "/submissions")
        child = self._start("leaderboard.build", str(self._folders.accepted), *options, log=log)
        self._building = wanted, child

    @staticmethod
    def _start(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
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
