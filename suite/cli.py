"""The command line of `suite.run`: every mistake is found here, before anything slow starts."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import baselines
import curricula
import suite
import tasks
from suite import config, devices, tracking
from suite.errors import UserError, unknown
from suite.matrix import Request, names_of
from suite.rundir import versions_in
from tasks.engines import ENGINES
from tasks.spec import RANDOMIZATION_LEVELS


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are `UserError`s, and which takes no shortened option."""

    def __init__(self, **options: object) -> None:
        """See `argparse.ArgumentParser`."""
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UserError(f"{message} (see --help)")

    def unknown_option(self, option: str) -> UserError:
        """An error for an option that this command does not have."""
        valid = [text for action in self._actions for text in action.option_strings if text.startswith("--")]
        return unknown("option", option.partition("=")[0], valid, list_all=False)


def parser() -> Parser:
    """Options of `suite.run`."""
    p = Parser(
        prog="python -m suite.run",
        description="Train and evaluate a matrix of runs, and build the leaderboard page.",
        usage="%(prog)s --task NAME[,NAME]|all --algo NAME[,NAME]|all [options] [dotted.key=value ...]",
        epilog="dotted.key=value overrides the configuration, for instance train.num_envs=1024; see docs/running.md",
    )
    p.add_argument("--task", required=True, metavar="NAMES", help="tasks, by comma, or all")
    p.add_argument("--algo", required=True, metavar="NAMES", help="algorithms, by comma, or all")
    p.add_argument("--seeds", type=int, default=1, metavar="N", help="train with seeds 0 to N-1 (1)")
    p.add_argument("--curriculum", default="none", metavar="NAMES", help="teachers, by comma, or all (none)")
    p.add_argument("--randomization", default="r0", metavar="LEVEL", help="what varies in training (r0: nothing)")
    p.add_argument("--physics", default="physx", metavar="ENGINE", help=f"{', '.join(ENGINES)} (physx)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda:K (auto: every GPU, else the CPU)")
    p.add_argument("--budget", default="auto", help="auto, smoke, quick or full (auto: full with a GPU, else smoke)")
    p.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where the runs go (runs)")
    p.add_argument("--wandb", metavar="MODE", help="online, offline or disabled (online if logged in, else disabled)")
    return p


def parse(argv: Sequence[str] | None) -> tuple[Request, list[str], list[str]]:
    """The request, the device of every slot, and what to tell the user about choices made for them.

    Raises:
        UserError: for anything that cannot be done.
    """
    p = parser()
    args, rest = p.parse_known_args(argv)
    for text in rest:
        if text.startswith("-"):
            raise p.unknown_option(text)
    algorithms = [*baselines.names(), *baselines.reference_names()]
    request = Request(
        tasks=names_of("task", args.task, tasks.known(), tasks.names()),
        algos=names_of("algorithm", args.algo, algorithms, algorithms),
        algos_named=args.algo.strip() != "all",
        curricula=names_of("curriculum", args.curriculum, curricula.names(), curricula.names()),
        levels=names_of("randomization level", args.randomization, RANDOMIZATION_LEVELS),
        physics=names_of("engine", args.physics, ENGINES),
        seeds=args.seeds,
        budget=names_of("budget", args.budget, ["auto", *config.BUDGETS])[0],
        overrides=tuple(rest),
        out=args.out,
        wandb=args.wandb or "",
        command=shlex.join(["python", "-m", "suite.run", *(sys.argv[1:] if argv is None else argv)]),
    )
    if args.seeds < 1:
        raise UserError(f"--seeds must be 1 or more, got {args.seeds}")
    slots = devices.slots(args.device)
    budget, why_budget = choose_budget(request.budget, slots)
    wandb, why_wandb = tracking.choose_mode(args.wandb)
    check_versions(args.out)
    chosen = {"budget": budget, "wandb": wandb}
    return Request(**vars(request) | chosen), slots, [note for note in (why_budget, why_wandb) if note]


def choose_budget(asked: str, slots: Sequence[str]) -> tuple[str, str]:
    """The budget, and why it was taken where `auto` was asked for."""
    if asked != "auto":
        return asked, ""
    if slots[0] != "cpu":
        return "full", "budget: full, because there is a CUDA GPU (--budget smoke is the short one)"
    if devices.cuda_names():
        return "smoke", "budget: smoke, because of --device cpu (--budget full trains to the end)"
    return "smoke", "budget: smoke, because there is no CUDA GPU (--budget full trains to the end)"


def check_versions(out: Path) -> None:
    """Raise `UserError` if `out` is no folder for runs, or if it holds those of another suite version."""
    if (out / "config.yaml").exists():
        raise UserError(f"--out {out} is a run directory itself; name the folder that holds the runs")
    if others := versions_in(out):
        raise UserError(
            f"--out {out} holds runs of suite version {', '.join(others)}, this is {suite.__version__};"
            " results of different versions are never compared: use another folder"
        )


def check_writable(out: Path) -> None:
    """Make the folder `out`; raise `UserError` if files cannot be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        if not os.access(out, os.W_OK | os.X_OK):
            raise PermissionError("permission denied")
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}") from None
