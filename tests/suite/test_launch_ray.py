"""The Ray launcher over a Ray that is made up: what ends an attempt, and what that costs."""

import errno
from types import SimpleNamespace

import pytest

from suite.execute import launch_ray, process
from suite.execute.launch import NODE_LOST
from suite.runs.rundir import RunDir


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class HttpError(Exception):
    """As gcsfs raises it: neither an OSError nor one of Ray's."""


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("worker", "fetch", "code", "said"),
    [
        (0, None, 0, ""),
        (0, HttpError("Forbidden, 403"), 1, "Forbidden, 403"),
        (0, FULL, process.DISK_FULL, "No space left"),
        (RayTaskError(HttpError("Forbidden, 403")), None, 1, "Forbidden, 403"),
        (RayTaskError(FULL), None, process.DISK_FULL, "No space left"),
        (RayError("the actor died"), None, NODE_LOST, ""),
        (ValueError("cannot be unpickled"), None, 1, "cannot be unpickled"),
    ],
)
def test_whatever_a_store_raises_ends_one_attempt_and_no_other(tmp_path, worker, fetch, code, said):
    ended = []

    def get(ref):
        if isinstance(worker, Exception):
            raise worker
        return worker

    def fetched(run):
        if fetch is not None:
            raise fetch

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    ray = SimpleNamespace(wait=lambda refs, timeout: (refs, []), get=get, exceptions=exceptions)
    launcher = SimpleNamespace(_ray=ray, fetch=fetched, ended=lambda slot, lost: ended.append(lost), shares_files=False)
    attempt = launch_ray.RayAttempt(launcher, "slot", "ref", RunDir(tmp_path))
    assert attempt.poll() == code
    assert attempt.poll() == code
    assert ended == [code == NODE_LOST]
    log = tmp_path / "worker.log"
    assert said in (log.read_text() if log.exists() else "")
