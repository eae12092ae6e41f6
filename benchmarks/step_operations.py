"""What an env step asks of the device, counted: it does not depend on the machine, and hardly on the number of envs.

    python -m benchmarks.step_operations --task go2-velocity ant-run
    python -m benchmarks.step_operations --task go2-velocity ant-run --loop isaaclab
    python -m benchmarks.step_operations --task go2-velocity ant-run --level r3

On a GPU each operation costs some microseconds of the host's time, while the device waits, whatever the number of
envs. Runs OVPhysX on the CPU with 64 envs, random actions, nominal factors, and an episode that ends in every step, as
it is with thousands of envs. One process per task. Prints a Markdown table with means over 64 env steps:

- torch: operations that compute or copy, without views and allocations;
- warp: kernels launched;
- engine: calls that read from or write to the engine, without its physics steps;
- waits: operations that need something from the device (`nonzero`, `item`, `cpu`, an index with a mask).

`--loop isaaclab` counts the same scene and MDP in Isaac Lab's own loop, see `benchmarks.isaaclab_loop`: without
success, safety and final observations, and with the wrapper that Isaac Lab has for rsl_rl. `--level` lets the teacher
`none` hand out factors of a randomisation level (r0: its own work alone); one of the 64 steps rewrites those that the
engine takes over the host. `--sources` prints by which of our or Isaac Lab's functions they are made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import curricula
import tasks

if TYPE_CHECKING:
    from tasks.isaaclab.lab_env import GradedEnv

ENVS, WARM_UP, STEPS = 64, 30, 64
KINDS = ("torch", "warp", "engine", "waits")
VIEWS = ("view", "select", "slice", "unsqueeze", "squeeze", "expand", "transpose", "t.", "permute", "alias", "detach")
VIEWS += ("as_strided", "unbind", "split", "_unsafe_view", "_reshape_alias", "empty", "new_empty", "lift_fresh")
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal.")


class Count(TorchDispatchMode):
    """Counts while it is entered; `of` has (kind, source) to number."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[tuple[str, str]] = Counter()
        self.active = False

    def note(self, kind: str) -> None:
        if self.active:
            self.of[kind, source()] += 1

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function).removeprefix("aten.")
        if name.startswith(WAITS) or (name.startswith("index") and any(map(is_mask, args))):
            self.note("waits")
        if not name.startswith(VIEWS):
            self.note("torch")
        return function(*args, **(kwargs or {}))

    def wrap(self, owner: Any, name: str, kind: str) -> None:
        function = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.note(kind)
            return function(*args, **kwargs)

        setattr(owner, name, counted)


def is_mask(argument: Any) -> bool:
    indices = argument if isinstance(argument, (list, tuple)) else ()
    return any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in indices)


def source() -> str:
    """The three outermost functions of `tasks` and Isaac Lab on the stack, below the env's step."""
    frame, chain = sys._getframe(2), []
    while frame:
        file = frame.f_code.co_filename
        if "/isaaclab" in file or "/tasks/" in file:
            chain.append(f"{os.path.basename(file)[:-3]}.{frame.f_code.co_name}")
        frame = frame.f_back
    chain = [name for name in reversed(chain) if not name.endswith((".step", "._step"))]
    return " > ".join(chain[:3]) or "step"


def build(task: str, loop: str, level: str | None) -> tuple[GradedEnv, Callable[[torch.Tensor], Any]]:
    spec, where = tasks.get(task), (ENVS, "cpu", "ovphysx")
    if loop == "ours":
        env = spec.build(*where)
        if level:
            teacher = curricula.make(curricula.config.load("none"), spec, level, ENVS, env.device, 0)
            env.set_sampler(teacher.sample, [factor.name for factor in spec.factors if not factor.held_out])
        env.reset(0)
        env.check_at_once = False  # as a training has it
        return env._env, env.step
    from benchmarks import isaaclab_loop

    wrapped = isaaclab_loop.build(spec, *where)
    return wrapped.unwrapped, wrapped.step


def measure(task: str, loop: str, level: str | None) -> Counter[tuple[str, str]]:
    import ovphysx.api
    import warp

    torch.set_num_threads(1)
    torch.manual_seed(0)
    count = Count()  # before the env, which keeps some of these functions
    count.wrap(warp, "launch", "warp")
    count.wrap(warp.Launch, "launch", "warp")
    count.wrap(torch.Tensor, "cpu", "waits")  # which does nothing here, but on a GPU
    for owner in (ovphysx.api.TensorBinding, ovphysx.api.ContactBinding):
        for name in dir(owner):
            if name.startswith(("read", "write")):
                count.wrap(owner, name, "engine")
    env, env_step = build(task, loop, level)
    env.episode_length_buf[:] = env.task.max_episode_steps - WARM_UP - torch.arange(ENVS)
    actions = torch.rand(WARM_UP + STEPS, ENVS, env.task.action_dim) * 2 - 1
    with count:
        for step, action in enumerate(actions):
            count.active = step >= WARM_UP
            env_step(action)
    return count.of


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_operations", description=__doc__.split("\n")[0])
    parser.add_argument("--task", nargs="+", default=tasks.names(), choices=tasks.names(), metavar="NAME")
    parser.add_argument("--loop", default="ours", choices=("ours", "isaaclab"))
    parser.add_argument("--level", choices=("r0", "r1", "r2", "r3"))
    parser.add_argument("--sources", action="store_true", help="print where they come from")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.level and args.loop != "ours":
        parser.error("Isaac Lab's loop has no levels: leave out --level or --loop")
    if args.one:
        counted = measure(args.task[0], args.loop, args.level)
        print("RESULT " + json.dumps([[*key, n] for key, n in counted.most_common()]), flush=True)
        os._exit(0)  # closing a simulator can hang
    print(f"| task | {' | '.join(KINDS)} |\n|---|---|---|---|---|")
    for task in args.task:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.step_operations", "--one", "--task", task]
        command += ["--loop", args.loop, *(["--level", args.level] if args.level else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600.0)
        found = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not found:
            raise SystemExit(f"{task} failed:\n{done.stderr[-2000:]}")
        rows = json.loads(found[0])
        totals = (sum(n for kind, _, n in rows if kind == of) / STEPS for of in KINDS)
        print(f"| {task} | {' | '.join(f'{total:.1f}' for total in totals)} |", flush=True)
        for kind, where, n in rows if args.sources else ():
            print(f"    {n / STEPS:7.2f} {kind:7} {where}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
