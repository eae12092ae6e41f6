"""What a machine has and what of it a process may use: GPUs, cores and memory."""

import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from suite import doctor
from suite.errors import UserError
from suite.execute import devices, launch_ray

V100 = "torch 2.11 has no kernels for V100 (compute capability 7.0), only for sm_75, sm_80, sm_90a"


def test_slots(monkeypatch):
    monkeypatch.setattr(devices, "cuda_names", lambda: ("A", "B"))
    monkeypatch.setattr(devices, "cuda_faults", dict)
    monkeypatch.setattr(devices, "cores", lambda: 16)
    assert devices.slots("auto", jobs_per_gpu=2) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert devices.slots("cuda:1", jobs_per_gpu=2) == ["cuda:1", "cuda:1"]
    assert devices.slots("cpu", workers=3) == ["cpu"] * 3
    monkeypatch.setattr(devices, "memory", lambda: 3 * devices.WORKER_BYTES)
    assert devices.slots("cpu") == ["cpu"] * 3
    monkeypatch.setattr(devices, "memory", lambda: 1)
    assert devices.slots("cpu") == ["cpu"]


def test_what_a_container_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    monkeypatch.setattr(devices, "GROUPS", tmp_path / "none")
    whole = devices.memory()
    assert whole > 0
    for name, text in (("cpu.max", "max 100000"), ("memory.max", "max"), ("memory.current", "900")):
        (tmp_path / name).write_text(f"{text}\n")
    assert devices.cores() == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 200\ninactive_file 300\nactive_file 400\n")
    assert devices.cores() == 1
    assert devices.memory() == 800  # files that are only cached are no obstacle


GIB = 2**30
NO_LIMIT = 9223372036854771712  # what version 1 says


@pytest.mark.parametrize(
    ("groups", "files", "memory", "cores"),
    [
        # Version 1, a limit on the job's own group, as SLURM and Docker set it.
        (
            "4:memory:/job/step\n1:cpu,cpuacct:/job\n0::/",
            {
                "memory/memory.limit_in_bytes": NO_LIMIT,
                "memory/memory.usage_in_bytes": 9 * GIB,
                "memory/job/memory.limit_in_bytes": 3 * GIB,
                "memory/job/memory.usage_in_bytes": 2 * GIB,
                "memory/job/memory.stat": f"cache 1\ntotal_inactive_file {GIB}\ntotal_active_file 0",
                "cpu/job/cpu.cfs_quota_us": 150_000,
                "cpu/job/cpu.cfs_period_us": 100_000,
                "cpu/cpu.cfs_quota_us": -1,
                "cpu/cpu.cfs_period_us": 100_000,
            },
            2 * GIB,
            2,
        ),
        # Version 2, nested: the tightest of all counts.
        (
            "0::/system.slice/job_7/step_0",
            {
                "system.slice/job_7/memory.max": 4 * GIB,
                "system.slice/job_7/memory.current": GIB,
                "system.slice/job_7/step_0/memory.max": "max",
                "system.slice/job_7/step_0/memory.current": GIB,
                "system.slice/job_7/step_0/cpu.max": "max 100000",
                "system.slice/job_7/cpu.max": "100000 100000",
            },
            3 * GIB,
            1,
        ),
        # In a container: the host's name of the group, and the container's own at the root.
        (
            "4:memory:/docker/0123\n0::/../../docker/0123",
            {"memory/memory.limit_in_bytes": 2 * GIB, "memory/memory.usage_in_bytes": GIB},
            GIB,
            None,
        ),
        # Both versions mounted.
        ("0::/user", {"unified/user/memory.max": GIB, "unified/user/memory.current": 0}, GIB, None),
        ("0::/user", {"user/memory.max": GIB, "user/memory.current": 2 * GIB}, 0, None),
        ("0::/user", {"user/memory.max": "???", "user/memory.current": 2 * GIB}, None, None),
        ("0::/", {}, None, None),
    ],
)
def test_limits_of_the_groups_that_a_job_is_in(tmp_path, monkeypatch, groups, files, memory, cores):
    monkeypatch.setattr(devices, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(devices, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * GIB))
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: set(range(64)))
    (tmp_path / "groups").write_text(f"{groups}\n")
    for name, content in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    assert devices.memory() == (100 * GIB if memory is None else memory)
    assert devices.cores() == (64 if cores is None else cores)


@pytest.mark.parametrize(
    ("capability", "archs", "usable"),
    [
        ((7, 0), ["sm_75", "sm_80", "sm_90a"], False),  # a V100
        ((6, 0), ["sm_75", "sm_120"], False),
        ((7, 5), ["sm_75"], True),
        ((8, 9), ["sm_80", "sm_86"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80", "sm_90"], True),
        ((12, 0), ["sm_90", "sm_120"], True),
        ((12, 1), ["sm_90", "compute_90"], True),
        ((7, 0), ["compute_75"], False),
        ((8, 0), [], False),
    ],
)
def test_kernels_for_a_gpu(capability, archs, usable):
    why = devices.no_kernels("V100", capability, archs, "2.11")
    assert (why == "") is usable
    if capability == (7, 0) and len(archs) == 3:
        assert why == V100


@pytest.fixture
def torch_says(monkeypatch):
    """Two GPUs that the driver shows, and what torch is made to say of them."""
    monkeypatch.setattr(devices, "cuda_names", lambda: ("V100", "H100"))
    devices.cuda_faults.cache_clear()

    def says(archs, capabilities):
        text = f"a warning\n{json.dumps(['2.11', archs, capabilities])}\n"
        monkeypatch.setattr(devices.subprocess, "run", lambda *args, **options: SimpleNamespace(stdout=text))

    yield says
    devices.cuda_faults.cache_clear()


def test_a_gpu_without_kernels_is_left_out(torch_says):
    torch_says(["sm_75", "sm_80", "sm_90a"], [[7, 0], [8, 0]])
    assert devices.slots("auto") == ["cuda:1"]
    with pytest.raises(UserError, match="has no kernels for V100"):
        devices.slots("cuda:0")
    assert devices.cuda_faults() == {0: V100}


def test_where_no_gpu_can_be_used_runs_go_on_the_cpu_and_one_line_says_so(torch_says, capsys):
    torch_says(["sm_75"], [])
    assert set(devices.slots("auto")) == {"cpu"}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no GPU can be used, so runs go on the CPU: torch 2.11 cannot use V100; update the NVIDIA")
    assert devices.usable_gpus() == []


def test_where_torch_says_nothing_no_gpu_is_refused(torch_says, monkeypatch):
    def fails(*args, **options):
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(devices.subprocess, "run", fails)
    assert devices.slots("auto") == ["cuda:0", "cuda:1"]


def test_doctor_names_a_gpu_without_kernels(torch_says, capsys):
    torch_says(["sm_75", "sm_80", "sm_90a"], [[7, 0], [8, 0]])
    found = doctor.examine()
    assert found["torch"]["gpu_faults"] == [V100]
    doctor._show(found)
    assert V100 in capsys.readouterr().out


@pytest.mark.parametrize(("ids", "visible"), [([1], "1"), (["GPU-12-ab"], "GPU-12-ab"), ([], "0,1")])
def test_a_slot_sees_the_gpus_that_ray_gave_it(monkeypatch, ids, visible):
    """Also where Ray is told to narrow nothing."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(launch_ray, "_ray", lambda: SimpleNamespace(get_gpu_ids=lambda: ids))
    launch_ray.Slot("root")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
