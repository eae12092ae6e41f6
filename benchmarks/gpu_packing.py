"""Runs per hour for several numbers of runs at a time per GPU, and of GPUs: what `--jobs-per-gpu` and scaling give.

python -m benchmarks.gpu_packing --task ant-run --algo ppo --jobs-per-gpu 1,2,4 --gpus 1 --rounds 2
python -m benchmarks.gpu_packing --task ant-run --algo ppo --jobs-per-gpu 1 --gpus 1,2,4 --rounds 2

Each line is a whole `suite.run` into an empty folder, of `rounds` runs of each task for each place, evaluation and
page included. A shortest run of each task comes first and is not counted, because it compiles kernels. A line whose
runs do not all succeed (out of memory, say) says so, and the next one follows. With `--gpus 0` the places are on the
CPU. Dotted overrides are passed on; these make runs of a minute, in which starting counts for more than it does in a
night of long ones, while "env steps/s of one", times the runs at a time, is what they train in sum:

    train.env_steps=5000000 eval.protocol=nominal eval.episodes_per_grade=64 eval.episodes_per_env=2
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from suite.execute import devices
from suite.plan import plans


def run(out: Path, seeds: int, gpus: int, per_gpu: int, words: list[str]) -> tuple[float, str]:
    """Seconds that `seeds` runs of each task take, and what the command said if they failed."""
    places = ["--jobs-per-gpu", str(per_gpu)] if gpus else ["--device", "cpu", "--workers", str(per_gpu)]
    command = [sys.executable, "-m", "suite.run", *words, *places, "--seeds", str(seeds), "--out", str(out)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))}
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--retries", "0", "--wandb", "disabled"], env=environment, capture_output=True, text=True
    )
    return time.perf_counter() - start, done.stdout + done.stderr if done.returncode else ""


def results(out: Path) -> list[dict[str, Any]]:
    """Of the runs that are complete."""
    return [result for found in plans.run_dirs(out) if (result := found.read_result()) is not None]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", default="ant-run")
    parser.add_argument("--algo", default="ppo")
    parser.add_argument("--budget", default="full")
    parser.add_argument("--jobs-per-gpu", default="1,2,4")
    parser.add_argument("--gpus", default="1")
    parser.add_argument("--rounds", type=int, default=2)
    args, overrides = parser.parse_known_args()
    words = ["--task", args.task, "--algo", args.algo, "--budget", args.budget, *overrides]
    print(
        f"{args.task}, {args.algo}, {args.budget} {' '.join(overrides)} on {devices.cuda_names() or devices.cpu_name()}"
    )
    print("| GPUs | runs per GPU at a time | runs | s | runs/h | against the first line | env steps/s of one |")
    print("|---|---|---|---|---|---|---|", flush=True)
    first = None
    with tempfile.TemporaryDirectory() as scratch:
        shortest = [*words, "train.env_steps=1"]
        _, failure = run(Path(scratch) / "warm", 1, min(1, int(args.gpus.split(",")[0])), 1, shortest)
        if failure:
            sys.exit(failure)
        for gpus in map(int, args.gpus.split(",")):
            for per_gpu in map(int, args.jobs_per_gpu.split(",")):
                out = Path(scratch) / f"{gpus}-{per_gpu}"
                seconds, failure = run(out, args.rounds * max(1, gpus) * per_gpu, gpus, per_gpu, words)
                done = results(out)
                cells = [gpus, per_gpu, len(done), f"{seconds:.0f}"]
                if failure:
                    print(failure[-4000:], file=sys.stderr)
                    cells += ["failed", "", ""]
                else:
                    rate = len(done) / seconds * 3600
                    first = first or rate
                    one = mean(result["env_steps"] / max(result["wall_time_s"], 1e-9) for result in done)
                    cells += [f"{rate:.1f}", f"{rate / first:.2f}", f"{one:,.0f}"]
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
