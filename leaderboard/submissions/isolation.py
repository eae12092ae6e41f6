"""What processes that handle a stranger's files may see and take."""

from __future__ import annotations

import os
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from suite.execute import process

MEMORY = 4 * 2**30  # [B] that reading a bundle may take
PASSED_ON = (  # no keys, tokens or database
    *("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "WARP_CACHE_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    "GRADUS_TEST_TASKS",  # see `leaderboard.submissions.checks`
)


def environment() -> dict[str, str]:
    """What such a process gets of this one's environment."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed | {process.PARENT: str(os.getpid()), "OMNI_KIT_ACCEPT_EULA": "YES", "WANDB_MODE": "disabled"}


@contextmanager
def limited_memory(size: int = MEMORY) -> Generator[None]:
    """Let this process take at most `size` more bytes of address space; beyond it allocations fail.

    Raises:
        OSError: if this process may not have that much, so that a failure would say nothing about what it reads.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * resource.getpagesize() + size
    if hard != resource.RLIM_INFINITY and hard < limit:
        raise OSError(f"the limit of memory (ulimit -v) is below {limit // 2**20} MiB")
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
