"""The Ray launcher, `suite.execute.launch_ray`. Ray ends a driver whose own node fails: not the one of all tests."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytestmark = pytest.mark.faults


def test_over_a_cluster_of_two_nodes():
    command = [sys.executable, "-m", "pytest", "tests/helpers/ray_cluster.py", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=580)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
