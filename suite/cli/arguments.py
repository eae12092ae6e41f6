"""The command line of `suite.run`: every mistake is found here, before anything slow starts."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import baselines
import curricula
import tasks
from suite.errors import UserError, first_line, one_of, shown, unknown
from suite.execute import devices
from suite.execute.launch import Launcher, Local
from suite.plan import config
from suite.plan.matrix import MOST_RUNS, Request, names_of
from suite.plan.preflight import check_memory, check_versions
from suite.plan.values import check_between
from suite.runs.guard import WATCHDOG_S
from suite.tracking import tracker
from tasks.core import engines
from tasks.core.multitask import SEPARATOR
from tasks.spec import RANDOMIZATION_LEVELS

LAUNCHERS = ("local", "ray")
JOBS_PER_GPU = 2  # 1.8 times the runs per hour of one at a time: docs/clusters.md


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are `UserError`s, and which takes no shortened option."""

    def __init__(self, **options: object) -> None:
        """See `argparse.ArgumentParser`."""
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """See `argparse.ArgumentParser`; raises `UserError` for an argument that is not UTF-8."""
        for text in sys.argv[1:] if args is None else args:
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise UserError(f"{shown(text)}: expected UTF-8, which config.yaml and result.json are written in")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UserError(f"{shown(message)} (see --help)")

    def unknown_option(self, option: str) -> UserError:
        """An error for an option that this command does not have."""
        valid = [text for action in self._actions for text in action.option_strings if text.startswith("--")]
        return unknown("option", option.partition("=")[0], valid, list_all=False)


def as_path(text: str) -> Path:
    """The type of an option that names a file or a folder: one that the file system can have.

    Raises `argparse.ArgumentTypeError` otherwise.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    try:
        os.lstat(text)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise argparse.ArgumentTypeError(f"{error.strerror}: {shown(text)}") from None
    return Path(text)


def parser() -> Parser:
    """Options of `suite.run`."""
    p = Parser(
        prog="python -m suite.run",
        description="Train and evaluate a matrix of runs, and build the leaderboard page.",
        usage="%(prog)s --task NAME[,NAME]|all --algo NAME[,NAME]|all [options] [dotted.key=value ...]",
        epilog="dotted.key=value overrides the configuration, for instance train.num_envs=1024; see docs/running.md",
    )
    p.add_argument("--task", required=True, metavar="NAMES", help="tasks, by comma, or all; a+b: one policy for both")
    p.add_argument("--algo", required=True, metavar="NAMES", help="algorithms, by comma, or all")
    p.add_argument("--seeds", type=int, default=1, metavar="N", help="train with seeds 0 to N-1 (1)")
    p.add_argument("--curriculum", default="none", metavar="NAMES", help="teachers, by comma, or all (none)")
    p.add_argument("--randomization", default="r0", metavar="LEVEL", help="what varies in training (r0: nothing)")
    p.add_argument("--physics", default="physx", metavar="ENGINE", help=f"{', '.join(engines.names())} (physx)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda:K (auto: every GPU, else the CPU)")
    p.add_argument("--budget", default="auto", help="auto, smoke, quick or full (auto: full with a GPU, else smoke)")
    p.add_argument("--init", type=as_path, metavar="RUN", help="start from the policy of a complete run: .../seedK")
    p.add_argument("--out", type=as_path, default=Path("runs"), metavar="DIR", help="where the runs go (runs)")
    p.add_argument("--wandb", metavar="MODE", help="online, offline or disabled (online if logged in, else disabled)")
    p.add_argument("--dry-run", action="store_true", help="show the runs, what is complete, and the time that is left")
    p.add_argument("--retries", type=int, default=2, metavar="N", help="further tries of a run that fails (2)")
    p.add_argument("--watchdog", type=float, default=WATCHDOG_S, metavar="S", help=f"hung after S s ({WATCHDOG_S:.0f})")
    p.add_argument("--no-wait", action="store_true", help="leave the runs to others that other commands work on")
    p.add_argument("--workers", type=int, metavar="N", help="runs at a time on the CPU (by its cores and memory)")
    p.add_argument("--jobs-per-gpu", default="auto", metavar="N", help=f"runs at a time per GPU (auto: {JOBS_PER_GPU})")
    p.add_argument("--launcher", default="local", metavar="NAME", help=f"{' or '.join(LAUNCHERS)} (local)")
    p.add_argument("--ray-address", metavar="HOST:PORT", help="an existing Ray cluster (a new one on this machine)")
    p.add_argument("--store", metavar="URL", help="fsspec URL through which Ray's workers exchange files (--out)")
    return p


@dataclass(frozen=True)
class Execution:
    """How the runs are executed; none of it makes another run. `devices` has one for each of the runs at a time."""

    launcher: str
    devices: list[str]
    jobs_per_gpu: int
    retries: int
    watchdog: float
    wait: bool
    dry_run: bool
    ray_address: str | None
    store: str | None


def parse(argv: Sequence[str] | None) -> tuple[Request, Execution, list[str]]:
    """The request, how to execute it, and what to tell the user about choices made for them.

    Raises:
        UserError: for anything that cannot be done.
    """
    p = parser()
    args, rest = p.parse_known_args(argv)
    for text in rest:
        if text.startswith("-"):
            raise _as_override(text) or p.unknown_option(text)
    every, more = baselines.names(), baselines.reference_names()
    request = Request(
        tasks=task_names(args.task),
        algos=names_of("algorithm", args.algo, [*baselines.known(), *more], [*every, *more]),
        algos_named=args.algo.strip() != "all",
        curricula=names_of("curriculum", args.curriculum, curricula.known(), curricula.names()),
        levels=names_of("randomization level", args.randomization, RANDOMIZATION_LEVELS),
        physics=names_of("engine", args.physics, engines.names()),
        seeds=args.seeds,
        budget=one_of("budget", args.budget, ["auto", *config.BUDGETS]),
        overrides=tuple(rest),
        out=args.out,
        init=args.init and args.init.resolve(),
        wandb=args.wandb or "",
        command=shlex.join(["python", "-m", "suite.run", *(sys.argv[1:] if argv is None else argv)]),
    )
    check_versions(args.out)
    wandb, why_wandb = tracker.choose_mode(args.wandb)
    execution = _execution(args)
    budget, why_budget = choose_budget(request.budget, execution.devices)
    if execution.launcher == "local":
        specs = [tasks.get(name) for name in request.tasks]
        simulators = [len(config.parts_of(spec)) for spec in specs if not engines.without_simulator(spec)]
        check_memory(execution.devices, max(simulators, default=0))
    chosen = {"budget": budget, "wandb": wandb}
    return Request(**vars(request) | chosen), execution, [note for note in (why_budget, why_wandb) if note]


def _as_override(option: str) -> UserError | None:
    """An error that says how a setting is overridden which was written as an option; None if it is none."""
    name = option.partition("=")[0].lstrip("-").lower().replace("-", "_")
    for key in config.known_settings():
        if name in (key, key.partition(".")[2]):
            return UserError(f"unknown option {shown(option)!r}; a setting is changed by {key}=VALUE, without --")
    return None


def task_names(text: str) -> tuple[str, ...]:
    """The tasks and sets of tasks (`a+b`, in the suite's order) that `--task` names. Raises `UserError`."""
    names = []
    for item in text.split(","):
        if SEPARATOR not in item:
            names += names_of("task", item, tasks.known(), tasks.names())
            continue
        parts = {one_of("task", part.strip(), tasks.known()) for part in item.split(SEPARATOR)}
        if len(parts) < 2:
            raise UserError(f"--task {shown(item.strip())}: expected two or more different tasks")
        name = SEPARATOR.join(part for part in tasks.known() if part in parts)
        try:
            tasks.get(name)
        except ValueError as error:
            raise UserError(f"--task {first_line(error)}") from None
        names.append(name)
    return tuple(dict.fromkeys(names))


def _execution(args: argparse.Namespace) -> Execution:
    one_of("launcher", args.launcher, LAUNCHERS)
    per_gpu = str(JOBS_PER_GPU) if args.jobs_per_gpu == "auto" else args.jobs_per_gpu
    if not per_gpu.isdecimal() or len(per_gpu) > 3 or not int(per_gpu):
        raise UserError(f"--jobs-per-gpu must be auto, or 1 to 999, got {shown(args.jobs_per_gpu)}")
    check_between("--seeds", args.seeds, 1, MOST_RUNS)
    check_between("--workers", args.workers, 1, 1000)
    check_between("--retries", args.retries, 0, 1000)
    if not args.watchdog >= 1:
        raise UserError(f"--watchdog must be 1 or more, got {args.watchdog}")
    if args.launcher == "ray":
        from suite.execute import launch_ray

        devices_used = launch_ray.slots(args.ray_address, args.device, int(per_gpu), args.workers, args.store)
    elif args.ray_address or args.store:
        raise UserError("--ray-address and --store need --launcher ray")
    else:
        devices_used = devices.slots(args.device, int(per_gpu), args.workers)
    if args.workers and devices_used[0] != "cpu":
        raise UserError("--workers is for runs on the CPU; for GPUs there is --jobs-per-gpu")
    return Execution(
        launcher=args.launcher,
        devices=devices_used,
        jobs_per_gpu=int(per_gpu),
        retries=args.retries,
        watchdog=args.watchdog,
        wait=not args.no_wait,
        dry_run=args.dry_run,
        ray_address=args.ray_address,
        store=args.store,
    )


def launcher_of(execution: Execution, out: Path) -> Launcher:
    """What starts the workers of runs in `out`."""
    if execution.launcher == "local":
        return Local(execution.devices, execution.watchdog)
    from suite.execute.launch_ray import Ray

    return Ray(execution.devices, execution.jobs_per_gpu, execution.watchdog, out, execution.store)


def choose_budget(asked: str, slots: Sequence[str]) -> tuple[str, str]:
    """The budget, and why it was taken where `auto` was asked for."""
    if asked != "auto":
        return asked, ""
    if slots[0] != "cpu":
        return "full", "budget: full, because there is a CUDA GPU (--budget smoke is the short one)"
    if devices.usable_gpus():
        return "smoke", "budget: smoke, because of --device cpu (--budget full trains to the end)"
    return "smoke", "budget: smoke, because there is no CUDA GPU that torch can use (--budget full trains to the end)"
