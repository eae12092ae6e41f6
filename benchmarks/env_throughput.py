"""Env steps per second of every task on every engine: physics alone, and the full env step with random actions.

    python -m benchmarks.env_throughput --num-envs 64 --device cpu --seconds 3 --out table.jsonl
    python -m benchmarks.env_throughput --num-envs 64 256 1024 4096 16384 --device cuda:0 --seconds 20 --out table.jsonl

One process per measurement. "Env step" has all of it: actions, physics, observations, rewards, terminations, resets
and the counting of lost contacts. Episodes start out of step, as they do in training. "Physics" is the engine's part of
the same steps alone: env steps by the seconds spent in it. Difficulties are spread over the envs. "Start" is the time
to the first steps. "Memory" is that of the process, on CUDA what it has of the device: what is free again once it is
gone. Prints a Markdown table; the file gets a JSON line per measurement as soon as it is taken.

`--together K` starts K processes at a time, which costs K times the memory and less time: they build their envs side
by side, and once all have taken their first steps they measure one by one, while the others are stopped. "Start" is
left out then, as it would be that of K processes at once. Without it, nothing else runs beside a process.

`--unrecorded` does without the CUDA graphs of what a step does besides the physics (`tasks/cuda/record.py`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import tasks
from benchmarks import turns
from tasks.core import engines

WARM_UP_STEPS = 32  # the first episodes end in them, too: what runs at a reset is loaded at its first use
ENGINES = ("ovphysx", "newton_mjwarp")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.env_throughput", description=__doc__.split("\n")[0])
    parser.add_argument("--task", nargs="+", default=tasks.names(), choices=tasks.names(), metavar="NAME")
    parser.add_argument("--engine", nargs="+", default=list(ENGINES), choices=engines.concrete(), metavar="ENGINE")
    parser.add_argument("--num-envs", type=int, nargs="+", default=[64], metavar="N")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a measurement (5)")
    parser.add_argument("--out", type=Path, help="file that a JSON line per measurement is added to")
    parser.add_argument("--together", type=int, default=1, metavar="K", help="processes that start at a time (1)")
    parser.add_argument("--unrecorded", action="store_true", help="no part of a step as a CUDA graph")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for a start, and for a measurement (900)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.together < 1:
        parser.error(f"--together is {args.together}, expected 1 or more")
    if args.one:
        turns.child(lambda: measure(args.task[0], args.engine[0], args.num_envs[0], args))
    jobs = list(itertools.product(args.task, args.engine, args.num_envs))
    found = turns.run([command(job, args) for job in jobs], args.together, args.device, args.timeout)
    results = []
    for (task, engine, num_envs), result in zip(jobs, found, strict=True):
        what = {"task": task, "engine": engine, "num_envs": num_envs, "device": args.device}
        results.append(what | result | ({"start_s": None} if args.together > 1 else {}))
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
        if args.out:
            with open(args.out, "a") as file:
                print(json.dumps(results[-1]), file=file)
    print(table(results))
    return 0


def command(job: tuple[str, str, int], args: argparse.Namespace) -> list[str]:
    task, engine, num_envs = job
    options = [f"--num-envs={num_envs}", f"--device={args.device}", f"--seconds={args.seconds}"]
    options += ["--unrecorded"] * args.unrecorded
    return ["-m", "benchmarks.env_throughput", "--one", "--task", task, "--engine", engine, *options]


def measure(task: str, engine: str, num_envs: int, args: argparse.Namespace) -> dict[str, Any]:
    if args.device == "cpu":
        torch.set_num_threads(1)
    spec = tasks.get(task)
    start = time.perf_counter()
    env = spec.build(num_envs, args.device, engines.check(engine, spec), recorded=not args.unrecorded)
    spread = torch.linspace(0.0, 1.0, num_envs, device=env.device)
    env.set_sampler(lambda env_ids: spread[env_ids.long()])
    env.reset(seed=0, staggered=True)
    actions = torch.rand(32, num_envs, spec.action_dim, device=env.device) * 2 - 1
    step = 0

    def env_step() -> None:
        nonlocal step
        env.step(actions[step % len(actions)])
        step += 1

    for _ in range(WARM_UP_STEPS):
        env_step()
    _wait(env.device)
    started = time.perf_counter() - start
    turns.wait()
    # The stopwatch costs nothing on the CPU, and one set of steps for both is fair where other work comes and goes.
    full = rate(env_step, num_envs, args.seconds, env.device) if env.device.type == "cuda" else None
    steppers = env._env.sim, env._env._physics  # the second makes steps of its own, or has no such method
    watch = Stopwatch([stepper for stepper in steppers if hasattr(stepper, "step")], env.device)
    before = step
    watched = rate(env_step, num_envs, args.seconds, env.device)
    return {
        "env_steps_per_s": full or watched,
        "physics_per_s": num_envs * (step - before) / watch.seconds,
        "decimation": spec.decimation,
        "start_s": started,
        "overflows": env.overflows(),
    }


class Stopwatch:
    """Seconds spent in the engine's steps. Waits for a GPU around each, and so slows down what goes on there."""

    def __init__(self, steppers: Sequence[Any], device: torch.device) -> None:
        self.seconds = 0.0
        for stepper in steppers:
            stepper.step = self._timed(stepper.step, device)

    def _timed(self, engine_step: Callable[..., None], device: torch.device) -> Callable[..., None]:
        def step(*args: Any, **options: Any) -> None:
            _wait(device)
            start = time.perf_counter()
            engine_step(*args, **options)
            _wait(device)
            self.seconds += time.perf_counter() - start

        return step


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


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
        start = "" if r["start_s"] is None else f"{r['start_s']:.0f} s"
        needs = f"| {start} | {r['memory_gib']:.1f} GiB "
        lines.append(f"{name}{rates}{needs}| {r['overflows'] or 'none'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
