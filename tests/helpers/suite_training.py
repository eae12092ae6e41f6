"""A worker whose training is a chain of hashes: it stands in for `suite.runs.worker` where hundreds are killed.

Leases, checkpoints, results and their order are the real ones; a step takes `STEP_S`. What must never happen (two at a
time in a directory, a second result) is written to `violations` beside the runs. Imports nothing slow.
"""

import fcntl
import hashlib
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import suite
from suite.execute.lease import Claimant, Lease, Lost
from suite.execute.process import LEASE_LOST, StopRequest, follow_parent, leave
from suite.execute.process import STOPPED as STOPPED_CODE
from suite.runs.guard import Guard
from suite.runs.rundir import RESULT_KEYS, RunDir, atomic, read_json, sha256, write_json, write_status

STEPS, EVERY = 40, 8
STEP_S = float(os.environ.get("STEP_S", "0.002"))


def main():
    follow_parent()
    run, options = RunDir(Path(sys.argv[1])), dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    if "--lease" in options:
        lease = Lease(run.path, int(options["--lease"]))
        try:
            lease.adopt()
        except Lost:
            return LEASE_LOST
    else:
        lease = Claimant(run.path).claim()
    with open(run.path / "one-at-a-time", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            violation(run, "two workers")
        guard = Guard(lease, float(options["--watchdog"]), lambda why: report(run, "failed", message=why))
        guard.start()
        return work(run, guard)


def work(run, guard):
    stop = StopRequest()
    state = read_json(run.path / "state.json") or {"step": 0, "hash": run.config.read_text().splitlines()[0]}
    while state["step"] < STEPS:
        digest = hashlib.sha256(f"{state['hash']} {state['step']}".encode()).hexdigest()
        state = {"step": state["step"] + 1, "hash": digest}
        guard.progress(slow=False)
        time.sleep(STEP_S)
        if state["step"] % EVERY == 0:
            report(run, "training", env_steps=state["step"], total_env_steps=STEPS)
            write_json(run.path / "state.json", state)
            if run.path.name == os.environ.get("HANGS") and not run.read_failures():
                time.sleep(60)
            if stop.came and state["step"] < STEPS:
                return STOPPED_CODE
    for file in (run.policy, run.episodes):
        atomic(file, lambda temporary: temporary.write_text(state["hash"]))
    hashes = {"policy_sha256": sha256(run.policy), "episodes_sha256": sha256(run.episodes)}
    result = dict.fromkeys(RESULT_KEYS, 0) | {"suite_version": suite.__version__} | hashes
    try:
        write_json(run.result, result, once=True)
    except FileExistsError:
        violation(run, "a second result")
    return 0


def report(run, state, **fields):
    with suppress(OSError):
        write_status(run.status, state=state, **fields)


def violation(run, what):
    with open(Path(os.environ["VIOLATIONS"]), "a") as file:
        file.write(f"{what}: {run.path}\n")


if __name__ == "__main__":
    leave(main)
