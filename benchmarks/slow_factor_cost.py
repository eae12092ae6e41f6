"""Where the time of slow factors goes: what each effect's write takes, and what it costs the step after it.

    python -m benchmarks.slow_factor_cost --task go2-velocity --num-envs 4096 --device cuda:0

A line per effect and number of rows: milliseconds until the engine has the values, and milliseconds by which the next
control step is longer than one without a write before it. Medians; nothing else goes on meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

ALL = "all slow effects"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="go2-velocity")
    parser.add_argument("--engine", default="physx")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16], help="how many envs reset at a time")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    import torch

    import curricula
    import tasks

    torch.set_num_threads(1)
    spec = tasks.get(args.task)
    env = spec.build(args.num_envs, args.device, args.engine)
    teacher = curricula.make(curricula.config.load("none"), spec, "r3", env.num_envs, env.device, 0)
    env.set_sampler(teacher.sample, [factor.name for factor in spec.factors if not factor.held_out])
    env.reset(0)
    action = torch.zeros(env.num_envs, spec.action_dim, device=env.device)

    def timed(what: Callable[[], Any]) -> float:
        """Milliseconds until it is done on the device."""
        wait = torch.cuda.synchronize if env.device.type == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        what()
        wait()
        return 1e3 * (time.perf_counter() - start)

    def step() -> None:
        env.step(action)

    slow = [(spec.factors[column].name, column, effect) for column, effect in env._effects if effect.slow]

    def write(chosen: list[tuple[str, int, Any]], rows: torch.Tensor) -> None:
        drawn = teacher.sample(rows.long())[1]
        for _, column, effect in chosen:
            effect.start(rows, drawn[:, column])
        for finish in env.after_reset:
            finish()

    for _ in range(10):
        step()
    bare = statistics.median(timed(step) for _ in range(args.repeats))
    print(json.dumps({"task": spec.name, "engine": env.engine, "num_envs": env.num_envs, "step_ms": round(bare, 3)}))
    for count in (*args.rows, env.num_envs):
        for name, chosen in (("none", []), *((part[0], [part]) for part in slow), (ALL, slow)):
            writes, steps = [], []
            for _ in range(args.repeats):
                rows = torch.randperm(env.num_envs, device=env.device)[:count].sort().values.int()
                writes.append(timed(lambda chosen=chosen, rows=rows: write(chosen, rows)))
                steps.append(timed(step) - bare)
            line = {"effect": name, "rows": count, "write_ms": statistics.median(writes)}
            line["next_step_ms"] = statistics.median(steps)
            print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}), flush=True)
    env.close()


if __name__ == "__main__":
    main()
