"""The speed benchmark runs its three learners on the same env, and reads a profile right."""

import argparse
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import env_throughput, step_operations, time_to_success, turns
from benchmarks import train_throughput as benchmark


@pytest.mark.parametrize("name", benchmark.NAMES)
@pytest.mark.parametrize("obs_norm", [False, True])
def test_a_learner_is_measured(name, obs_norm):
    args = argparse.Namespace(env="trivial", engine="physx", num_envs=4, horizon=4, iterations=2, warmup=1)
    args.device, args.threads, args.obs_norm, args.profile = "cpu", 1, obs_norm, name == "ours"
    args.recorded = False
    result = benchmark.measure(name, args)
    assert result["env_steps_per_s"] > 0
    assert sum(result["share"].values()) == pytest.approx(1.0)
    assert result["share"].pop("physics") == 0.0  # there is none
    assert all(0 < share < 1 for share in result["share"].values())
    if name == "ours":
        assert result["device_to_host_copies"] == {"env step": 0, "step loop": 0}
    result["share"]["physics"] = 0.0
    assert name in benchmark.table([result | {"memory_gib": 0.5}])


def test_copies_are_told_apart_by_who_asked_for_them():
    def launch(at, number):
        return {"cat": "cuda_runtime", "name": "cudaMemcpyAsync", "ts": at, "args": {"correlation": number}}

    def copy(number, kind="DtoH"):
        return {"cat": "gpu_memcpy", "name": f"Memcpy {kind}", "ts": 900, "args": {"correlation": number}}

    step = {"cat": "user_annotation", "name": "env step", "ts": 100, "dur": 50}
    events = [step, launch(90, 1), launch(120, 2), launch(149, 3), launch(151, 4), launch(160, 5)]
    events += [copy(1), copy(2), copy(3), copy(4), copy(5, "HtoD"), {"name": "process_name", "ph": "M"}]
    assert benchmark.count_copies(events) == {"env step": 2, "step loop": 2}


def test_a_stopwatch_adds_up_by_stage():
    watch = benchmark.Stopwatch(torch.device("cpu"))
    watch._marks = {"env step": [(0.0, 1.0), (3.0, 3.5)], "physics": [(0.25, 0.75)], "inference": [(1.0, 3.0)]}
    assert watch.split() == {"physics": 0.5, "rest of env step": 1.0, "inference": 2.0, "update": 0.0}


def test_table_of_env_throughput():
    told = {"task": "ant-run", "engine": "ovphysx", "num_envs": 64, "device": "cpu"}
    found = {"env_steps_per_s": 500.0, "physics_per_s": 2000.0, "decimation": 4, "start_s": 1.4, "overflows": 0}
    found["memory_gib"] = 0.5
    lines = env_throughput.table([told | found, told | {"error": "exit 1: no such thing"}]).splitlines()
    assert lines[2] == "| ant-run | ovphysx | 64 | 2,000 | 500 | 25% | 1 s | 0.5 GiB | none |"
    assert "no such thing" in lines[3]


def test_env_throughput_counts_whole_batches():
    calls = []
    rate = env_throughput.rate(lambda: calls.append(1), 8, 0.01, torch.device("cpu"))
    assert len(calls) % 4 == 0
    assert 0 < rate <= 8 * len(calls) / 0.01


def test_processes_get_ready_together_and_measure_in_turn(tmp_path):
    """None gets ready before all have started, and each measures when those before are gone."""
    script = """
import os, sys, time
from pathlib import Path
from benchmarks import turns

name, folder = sys.argv[1], Path(sys.argv[2])

def measure():
    (folder / name).touch()
    while len(list(folder.iterdir())) < 4:
        time.sleep(0.01)
    if name == "unprepared":
        raise ValueError("out of memory")
    print("noise " * 100_000, end="")
    turns.wait()
    if name == "crashes":
        os._exit(3)
    others = sorted(other.name for other in folder.iterdir())
    (folder / name).rename(folder / "gone")
    return {"others": others}

turns.child(measure)
"""
    names = ["first", "unprepared", "crashes", "last"]
    commands = [["-c", script, name, str(tmp_path)] for name in names]
    first, unprepared, crashed, last = turns.run(commands, together=4)
    assert first["others"] == sorted(names)
    assert unprepared == {"error": "exit 1: ValueError: out of memory"}
    assert crashed["error"].startswith("exit 3")
    assert last["others"] == sorted([*names[1:], "gone"])
    assert last["memory_gib"] > 0


def test_a_process_that_is_late_is_stopped():
    assert list(turns.run([["-c", "import time; time.sleep(3600)"]], timeout=0.0)) == [{"error": "no READY in time"}]


def test_operations_are_counted_without_views():
    count, x = step_operations.Count(), torch.ones(4)
    with count:
        x + 1
        count.active = True
        (x[None] + 1 > 2).nonzero()
        x[x > 2]
    assert [sum(n for (kind, _), n in count.of.items() if kind == of) for of in ("torch", "waits")] == [5, 2]


def test_time_to_success_takes_the_median_seed():
    never = (float("nan"), float("nan"))
    times = {("ant-run", "ppo", "fixed-r0-ovphysx"): [(30.0, 3e6), never, (10.0, 1e6)], ("x", "y", "z"): [never]}
    lines = time_to_success.table(times, "g1", 0.9).splitlines()
    assert lines[2] == "| ant-run | ppo | fixed-r0-ovphysx | 3 | 2 of 3 | 30 | 3,000,000 |"
    assert lines[3] == "| x | y | z | 1 | 0 of 1 | never | never |"


def test_time_to_success_in_training_is_that_of_enough_easy_episodes(tmp_path):
    easy = {"env_steps": [100, 200, 300], "success_bin_0": [1.0, 0.8, 0.95], "episodes_bin_0": [2.0, 9.0, 9.0]}
    pq.write_table(pa.table(easy), tmp_path / "curriculum.parquet")
    pq.write_table(pa.table({"env_steps": [0, 400], "wall_time_s": [0.0, 40.0]}), tmp_path / "progress.parquet")
    assert time_to_success._in_training(tmp_path, 0.9) == (30.0, 300.0)
    assert all(math.isnan(x) for x in time_to_success._in_training(tmp_path, 0.99))
    pq.write_table(pa.table(easy | {"episodes_bin_0": [0.0] * 3}), tmp_path / "curriculum.parquet")
    assert time_to_success._in_training(tmp_path, 0.9) is None
