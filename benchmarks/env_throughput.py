"""Env steps per second of every task on every engine: physics alone, and the full env step with random actions.

    python -m benchmarks.env_throughput --num-envs 64 --device cpu --seconds 3 --out table.jsonl
    python -m benchmarks.env_throughput --num-envs 64 256 1024 4096 16384 --device cuda:0 --seconds 20 --out table.jsonl

One process per measurement. "Env step" has all of it: actions, physics, observations, rewards, terminations, resets
and the counting of lost contacts. "Physics" is the engine's part of the same steps alone: env steps by the seconds
spent in it. Difficulties are spread over the envs. "Start" is the time to the first steps, "memory" that of the
process, on CUDA what is taken of the device. Prints a Markdown table; the file gets a JSON line per measurement
as soon as it is taken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

import tasks
from tasks import engines

WARM_UP_STEPS = 5
TIMEOUT_S = 900.0
ENGINES = ("ovphysx", "newton_mjwarp")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.env_throughput", description=__doc__.split("\n")[0])
    parser.add_argument("--task", nargs="+", default=tasks.names(), choices=tasks.names(), metavar="NAME")
    parser.add_argument("--engine", nargs="+", default=list(ENGINES), choices=engines.CONCRETE, metavar="ENGINE")
    parser.add_argument("--num-envs", type=int, nargs="+", default=[64], metavar="N")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a measurement (5)")
    parser.add_argument("--out", type=Path, help="file that a JSON line per measurement is added to")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        result = measure(args.task[0], args.engine[0], args.num_envs[0], args.device, args.seconds)
        print("RESULT " + json.dumps(result), flush=True)
        os._exit(0)  # closing a simulator can hang
    results = []
    for task, engine, num_envs in itertools.product(args.task, args.engine, args.num_envs):
        results.append(in_a_process(task, engine, num_envs, args.device, args.seconds))
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
        if args.out:
            with open(args.out, "a") as file:
                print(json.dumps(results[-1]), file=file)
    print(table(results))
    return 0


def in_a_process(task: str, engine: str, num_envs: int, device: str, seconds: float) -> dict[str, Any]:
    options = [f"--num-envs={num_envs}", f"--device={device}", f"--seconds={seconds}"]
    command = [sys.executable, "-m", "benchmarks.env_throughput", "--one", "--task", task, "--engine", engine, *options]
    what = {"task": task, "engine": engine, "num_envs": num_envs, "device": device}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return what | {"error": f"not done after {TIMEOUT_S:g} s"}
    lines = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if lines:
        return what | json.loads(lines[-1])
    said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
    return what | {"error": f"exit {done.returncode}: {said[-1][:200]}"}


def measure(task: str, engine: str, num_envs: int, device: str, seconds: float) -> dict[str, Any]:
    if device == "cpu":
        torch.set_num_threads(1)
    spec = tasks.get(task)
    start = time.perf_counter()
    env = spec.build(num_envs, device, engines.check(engine, spec))
    spread = torch.linspace(0.0, 1.0, num_envs, device=env.device)
    env.set_sampler(lambda env_ids: spread[env_ids.long()])
    env.reset(seed=0)
    actions = torch.rand(32, num_envs, spec.action_dim, device=env.device) * 2 - 1
    step = 0

    def env_step() -> None:
        nonlocal step
        env.step(actions[step % len(actions)])
        step += 1

    for _ in range(WARM_UP_STEPS):
        env_step()
    started = time.perf_counter() - start
    # The stopwatch costs nothing on the CPU, and one set of steps for both is fair where other work comes and goes.
    full = rate(env_step, num_envs, seconds, env.device) if env.device.type == "cuda" else None
    watch = Stopwatch(env._env.sim, env.device)
    before = step
    watched = rate(env_step, num_envs, seconds, env.device)
    return {
        "env_steps_per_s": full or watched,
        "physics_per_s": num_envs * (step - before) / watch.seconds,
        "decimation": spec.decimation,
        "start_s": started,
        "memory_gib": memory(env.device) / 2**30,
        "overflows": env.overflows(),
    }


class Stopwatch:
    """Seconds spent in the engine's steps. Waits for a GPU around each, and so slows down what goes on there."""

    def __init__(self, simulation: Any, device: torch.device) -> None:
        self.seconds = 0.0
        engine_step = simulation.step

        def step(*args: Any, **options: Any) -> None:
            _wait(device)
            start = time.perf_counter()
            engine_step(*args, **options)
            _wait(device)
            self.seconds += time.perf_counter() - start

        simulation.step = step


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def memory(device: torch.device) -> int:
    """Bytes in use: of the device by all, of the host by this process."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total - free
    return psutil.Process().memory_info().rss


def rate(function: Callable[[], None], num_envs: int, seconds: float, device: torch.device) -> float:
    """Env steps per second of calls that step all envs once."""
    _wait(device)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(4):
            function()
        _wait(device)
        calls += 4
    return calls * num_envs / (time.perf_counter() - start)


def table(results: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| task | engine | envs | physics [env steps/s] | env step [env steps/s] | share of physics | start | memory "
        "| lost contacts |",
        "|---" * 9 + "|",
    ]
    for r in results:
        name = f"| {r['task']} | {r['engine']} | {r['num_envs']} "
        if "error" in r:
            lines.append(f"{name}| {r['error']} | | | | | |")
            continue
        share = r["env_steps_per_s"] / r["physics_per_s"]
        rates = f"| {r['physics_per_s']:,.0f} | {r['env_steps_per_s']:,.0f} | {share:.0%} "
        needs = f"| {r['start_s']:.0f} s | {r['memory_gib']:.1f} GiB "
        lines.append(f"{name}{rates}{needs}| {r['overflows'] or 'none'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
