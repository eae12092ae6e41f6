"""What a teacher costs: its time per iteration beside the time of a training step.

    python -m benchmarks.teacher_cost --device cuda:0 --num-envs 4096 --step-ms 29
    python -m benchmarks.teacher_cost --device cpu --num-envs 4096

No simulator: envs end at random, so that `--length` steps is an episode's mean length, and succeed with a probability
that falls with difficulty. What is timed is what a training has to do for a teacher: `sample` at every step in which
an episode ended, the sampler's bookkeeping included, and `update` once an iteration. On a GPU the clock stops after the
device is done, and asking for a wait inside `sample` is an error (`torch.cuda.set_sync_debug_mode`), which stands in
the teacher's line then. With `--step-ms`, the time of a vector step of the training (physics and update), the share of
it is printed too. The first fits, which load libraries, are in the warm-up.
"""

from __future__ import annotations

import argparse
import time

import torch
from omegaconf import OmegaConf

import curricula
import tasks
from curricula.episodes import Episodes
from curricula.teacher import Teacher

SPEC = tasks.get("toy-reach")


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(teacher: Teacher, args: argparse.Namespace) -> tuple[float, float, float]:
    """Seconds per vector step in `sample`, per iteration in `update` on average, and in the longest of them."""
    n, device = args.num_envs, torch.device(args.device)
    generator = torch.Generator(device).manual_seed(0)
    nominal = torch.tensor([factor.nominal for factor in SPEC.factors], device=device).repeat(n, 1)
    difficulty, factors = torch.zeros(n, device=device), nominal.clone()
    sampling, updates = 0.0, []

    def start(env_ids: torch.Tensor) -> None:
        nonlocal sampling
        synchronize(device)
        began = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            given = teacher.sample(env_ids)
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        synchronize(device)
        sampling += time.perf_counter() - began
        difficulty[env_ids], factors[env_ids] = given if isinstance(given, tuple) else (given, nominal[env_ids])

    start(torch.arange(n, device=device))
    for iteration in range(args.warmup + args.iterations):
        if iteration == args.warmup:
            sampling, updates = 0.0, []
        ended = []
        for _ in range(args.horizon):
            env_ids = (torch.rand(n, generator=generator, device=device) < 1 / args.length).nonzero().squeeze(1)
            if not len(env_ids):
                continue
            solved = torch.rand(len(env_ids), generator=generator, device=device)
            success = solved < torch.sigmoid((0.5 - difficulty[env_ids]) / 0.1)
            ended.append((env_ids, difficulty[env_ids], factors[env_ids], success))
            start(env_ids)
        env_ids, at, with_factors, success = (torch.cat(parts) for parts in zip(*ended, strict=True))
        nothing = torch.zeros_like(at)
        episodes = Episodes(env_ids, at, with_factors, nothing, nothing, success, success, 0)
        synchronize(device)
        began = time.perf_counter()
        teacher.update(episodes)
        synchronize(device)
        updates.append(time.perf_counter() - began)
    return sampling / (args.iterations * args.horizon), sum(updates) / len(updates), max(updates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--num-envs", type=int, default=4096)
    parser.add_argument("--horizon", type=int, default=24, help="vector steps of an iteration")
    parser.add_argument("--length", type=int, default=500, help="mean steps of an episode")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--warmup", type=int, default=40)
    parser.add_argument("--step-ms", type=float, help="time of a vector step of the training [ms]")
    parser.add_argument("--target", choices=("difficulty", "both"), default="both")
    args = parser.parse_args()
    if args.device == "cpu":
        torch.set_num_threads(1)
    print(f"{args.num_envs} envs, {args.horizon} steps an iteration, episodes of {args.length} steps, {args.device}")
    print("teacher    sample [ms/step]   update [ms/iteration]   longest update [ms]   per step [ms]   share")
    for name in curricula.names():
        cfg = curricula.config.load(name)
        if name != "none":
            cfg = OmegaConf.merge(cfg, {"target": args.target})
        teacher = curricula.make(cfg, SPEC, "r3", args.num_envs, args.device, seed=0)
        try:
            sample, update, longest = (1e3 * seconds for seconds in measure(teacher, args))
        except RuntimeError as error:
            print(f"{name:<9} {error}", flush=True)
            continue
        per_step = sample + update / args.horizon
        share = f"{100 * per_step / (args.step_ms + per_step):6.2f} %" if args.step_ms else ""
        print(f"{name:<9} {sample:17.3f} {update:23.2f} {longest:21.2f} {per_step:15.3f}   {share}", flush=True)


if __name__ == "__main__":
    main()
