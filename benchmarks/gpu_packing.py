"""Runs per hour for several numbers of runs at a time per GPU, and of GPUs: what `--jobs-per-gpu` and scaling give.

python -m benchmarks.gpu_packing --task ant-run --algo ppo --jobs-per-gpu 1,2,4 --gpus 1 --rounds 2
python -m benchmarks.gpu_packing --task ant-run --algo ppo --jobs-per-gpu 1 --gpus 1,2,4 --rounds 2

Each line is a whole `suite.run` into an empty folder, of `rounds` runs of each task for each place, evaluation and
page included. A run of each task comes first and is not counted, because it compiles kernels. With `--gpus 0` the
places are on the CPU.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from suite import devices, plans


def run(out: Path, seeds: int, gpus: int, per_gpu: int, words: list[str]) -> float:
    """Seconds that `seeds` runs of each task take."""
    places = ["--jobs-per-gpu", str(per_gpu)] if gpus else ["--device", "cpu", "--workers", str(per_gpu)]
    command = [sys.executable, "-m", "suite.run", *words, *places, "--seeds", str(seeds), "--out", str(out)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))}
    start = time.perf_counter()
    done = subprocess.run([*command, "--wandb", "disabled"], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - start


def speed(out: Path) -> float:
    """Mean env steps/s of a training."""
    results = [found.read_result() for found in plans.run_dirs(out)]
    return sum(result["env_steps"] / max(result["wall_time_s"], 1e-9) for result in results) / len(results)


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
    print("|---|---|---|---|---|---|---|")
    first = None
    with tempfile.TemporaryDirectory() as scratch:
        run(Path(scratch) / "warm", 1, min(1, int(args.gpus.split(",")[0])), 1, words)
        for gpus in map(int, args.gpus.split(",")):
            for per_gpu in map(int, args.jobs_per_gpu.split(",")):
                seeds = args.rounds * max(1, gpus) * per_gpu
                out = Path(scratch) / f"{gpus}-{per_gpu}"
                seconds = run(out, seeds, gpus, per_gpu, words)
                runs = len(list(plans.run_dirs(out)))
                rate = runs / seconds * 3600
                first = first or rate
                cells = [
                    gpus,
                    per_gpu,
                    runs,
                    f"{seconds:.0f}",
                    f"{rate:.1f}",
                    f"{rate / first:.2f}",
                    f"{speed(out):,.0f}",
                ]
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
