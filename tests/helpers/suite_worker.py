"""A worker that does, at once, what its seed is told to do by `SUITE_WORKER`; for test_suite_parts."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import suite
from suite.runs.rundir import RESULT_KEYS, RunDir, write_json, write_status


def complete(run):
    run.policy.touch()
    run.episodes.touch()
    write_json(run.result, dict.fromkeys(RESULT_KEYS, 0) | {"suite_version": suite.__version__})


def main():
    run = RunDir(Path(sys.argv[1]))
    behaviour = json.loads(os.environ["SUITE_WORKER"])[int(run.path.name.removeprefix("seed"))]
    if behaviour.startswith("complete"):
        complete(run)
    if behaviour.endswith("segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "raise":
        raise ValueError("made up")
    if behaviour == "fail with reason":
        write_status(run.status, state="failed", message="NonFiniteError: reward is NaN")
        sys.exit(1)
    if behaviour.startswith("hang"):
        if "ignore" in behaviour:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        write_status(run.status, state="training", pid=os.getpid())
        time.sleep(60)


if __name__ == "__main__":
    main()
