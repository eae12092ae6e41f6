"""What randomisation costs: env steps per second at a randomisation level against r0.

    python -m benchmarks.factor_cost --task go2-velocity --num-envs 64
    python -m benchmarks.factor_cost --task go2-velocity --num-envs 4096 --device cuda:0

Random actions; one process per measurement, since an env that has had factors keeps their machinery; the two kinds
alternate, so that what else the machine does falls on both. Episodes start out of step, as they are in training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from benchmarks import turns


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Env steps per second at `args.one`."""
    import torch

    import curricula
    import tasks
    from tasks.core.engines import check

    torch.set_num_threads(1)
    spec = tasks.get(args.task)
    env = spec.build(args.num_envs, args.device, check(args.engine, spec))
    teacher = curricula.make(curricula.config.load("none"), spec, args.one, env.num_envs, env.device, 0)
    if args.rewrite_episodes:
        env.rewrite_episodes = args.rewrite_episodes
    env.set_sampler(teacher.sample, [factor.name for factor in spec.factors if not factor.held_out])
    env.reset(0, staggered=True)
    actions = torch.rand(args.warmup + args.steps, env.num_envs, spec.action_dim, device=env.device) * 2 - 1
    for step, action in enumerate(actions):
        if step == args.warmup:
            _wait(env.device)
            turns.wait()
            start = time.perf_counter()
        env.step(action)
    _wait(env.device)
    return {"env_steps_per_s": args.steps * env.num_envs / (time.perf_counter() - start)}


def _wait(device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="go2-velocity")
    parser.add_argument("--engine", default="physx")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--level", default="r3")
    parser.add_argument(
        "--rewrite-episodes", type=int, metavar="K", help="a row gets new slow factors at every K-th episode"
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--warmup", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--together", type=int, default=1, metavar="K", help="start K at a time; they measure in turn")
    parser.add_argument("--out", type=Path, help="file that a JSON line is added to")
    parser.add_argument("--one", metavar="LEVEL", help="measure this level in this process")
    args = parser.parse_args()
    if args.one:
        turns.child(lambda: measure(args))
    levels = ["r0", args.level] * args.repeats
    commands = [["-m", "benchmarks.factor_cost", *sys.argv[1:], "--one", level] for level in levels]
    rates: dict[str, list[float]] = {"r0": [], args.level: []}
    for level, result in zip(levels, turns.run(commands, args.together, args.device), strict=True):
        if "error" in result:
            print(f"{level} failed: {result['error']}", file=sys.stderr, flush=True)
            continue
        print(f"{level}: {result['env_steps_per_s']:,.0f} env steps/s", file=sys.stderr, flush=True)
        rates[level].append(result["env_steps_per_s"])
    if not all(rates.values()):
        sys.exit(1)
    medians = {level: statistics.median(found) for level, found in rates.items()}
    share = medians[args.level] / medians["r0"]
    settings = ("task", "num_envs", "device", "rewrite_episodes")
    line = json.dumps({**{name: getattr(args, name) for name in settings}, **rates, "share": share})
    print(line)
    if args.out:
        with open(args.out, "a") as file:
            print(line, file=file)


if __name__ == "__main__":
    main()
