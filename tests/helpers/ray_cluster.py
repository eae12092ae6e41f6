"""The Ray launcher over a cluster of two nodes in processes of their own.

The workers are `tests.helpers.suite_training`.

Run by `tests/suite/test_ray.py` in a process of its own.
"""

import socket
import threading

import pytest

from suite.cli import arguments as cli
from suite.errors import UserError
from suite.execute import launch, launch_ray, scheduler
from suite.plan import plans
from suite.plan.matrix import plan
from suite.report.display import Display
from tests.suite.test_faults import check

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.faults


SETTINGS = {
    "USAGE_STATS_ENABLED": "0",
    # A machine that is busy or full is no dead node, and a dead one, which refuses connections, is found in 10 s.
    "health_check_period_ms": "1000",
    "health_check_timeout_ms": "60000",
    "health_check_failure_threshold": "10",
    "memory_monitor_refresh_ms": "0",
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("VIOLATIONS", str(tmp_path / "violations"))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(f"RAY_{name}", value)
    monkeypatch.setattr(launch, "WORKER", "tests.helpers.suite_training")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    # While there is one node: of several on one address Ray takes any, and the driver goes down with the node it took.
    assert launch_ray.slots(cluster.address, "cpu", 1, None, None) == ["cpu"] * 2
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def arguments(cluster, out, seeds, *argv):
    base = ["--task", "toy-reach", "--algo", "zero", "--budget", "smoke", "--wandb", "disabled", "--launcher", "ray"]
    return [*base, "--ray-address", cluster.address, "--seeds", str(seeds), "--out", str(out), *argv]


def execute(cluster, out, seeds, display, *argv, retries=20):
    request, execution, _ = cli.parse(arguments(cluster, out, seeds, *argv))
    launcher = cli.launcher_of(execution, out)
    return scheduler.execute(plan(request), launcher, display, retries), execution


class LoseNode(Display):
    """Kills a node of the cluster, without its being told, once half of the jobs are complete."""

    def __init__(self, cluster, node):
        self._cluster, self._node = cluster, node

    def update(self, tracked):
        complete = sum(t.state == "complete" for t in tracked)
        if self._node is not None and complete >= len(tracked) / 2:
            node, self._node = self._node, None
            threading.Thread(target=lambda: self._cluster.remove_node(node, allow_graceful=False)).start()


def test_a_node_is_lost_half_way(cluster, tmp_path):
    second = cluster.add_node(num_cpus=2)
    out = tmp_path / "runs"
    display = LoseNode(cluster, second)
    tracked, execution = execute(cluster, out, 200, display)
    assert len(execution.devices) == 4
    assert [t.state for t in tracked] == ["complete"] * 200
    check(out, jobs=200)
    reasons = {f["reason"] for run in plans.run_dirs(out) for f in run.read_failures()}
    assert reasons <= {"its machine was lost", "killed by SIGKILL"}
    assert reasons


def test_files_through_a_store(cluster, tmp_path):
    """Workers see the URL alone; a folder of another driver is filled from it."""
    url = f"file://{tmp_path / 'store'}"
    out = tmp_path / "runs"
    tracked, _ = execute(cluster, out, 4, Display(), "--store", url)
    assert [t.state for t in tracked] == ["complete"] * 4
    check(out, jobs=4)
    stored = sorted((tmp_path / "store").rglob("result.json"))
    assert len(stored) == 4
    assert not list((tmp_path / "store").rglob("*.part"))
    stored[0].with_name("policy.safetensors").write_text("cut off")
    again, _ = execute(cluster, tmp_path / "other" / "runs", 4, Display(), "--store", url)
    assert [t.state for t in again] == ["complete", "skipped", "skipped", "skipped"]


def test_a_store_that_cannot_be_written_fails_the_runs_and_no_slot(cluster, tmp_path):
    tracked, _ = execute(cluster, tmp_path / "runs", 5, Display(), "--store", "file:///proc/gradus", retries=0)
    assert [t.state for t in tracked] == ["failed"] * 5
    assert all("No such file" in t.message for t in tracked)


def test_a_cluster_that_does_not_answer(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        taken = f"127.0.0.1:{unused.getsockname()[1]}"
        base = ["--task", "toy-reach", "--algo", "zero", "--launcher", "ray", "--out", str(tmp_path)]
        for address, said in ((taken, "does not answer"), ("nowhere", "must be HOST:PORT")):
            with pytest.raises(UserError, match=said):
                cli.parse([*base, "--ray-address", address])
    with pytest.raises(UserError, match="places runs itself"):
        cli.parse([*base, "--device", "cuda:1"])
    with pytest.raises(UserError, match="must be an URL"):
        cli.parse([*base, "--store", "folder"])
