"""The command line of `suite.run`: every mistake is found here, before anything slow starts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

import baselines
import curricula
import tasks
from suite.cli import app
from suite.cli import options as o
from suite.cli import run_options as r
from suite.cli.run_options import JOBS_PER_GPU, LAUNCHERS
from suite.errors import UserError, first_line, one_of, shown
from suite.execute import devices
from suite.execute.launch import Launcher, Local
from suite.plan import config
from suite.plan.matrix import MOST_RUNS, Request, names_of
from suite.plan.preflight import check_memory, check_versions
from suite.plan.values import check_between
from suite.runs.guard import WATCHDOG_S
from suite.tracking import tracker
from tasks.core import engines
from tasks.multitask.declare import SEPARATOR
from tasks.spec import RANDOMIZATION_LEVELS


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


def read(
    context: typer.Context,
    task: r.TaskNames,
    algo: r.AlgorithmNames,
    overrides: r.Overrides = None,
    *,
    seeds: r.Seeds = 1,
    curriculum: r.CurriculumNames = "none",
    randomization: r.Levels = "r0",
    budget: r.Budget = "auto",
    init: r.Init = None,
    physics: o.Physics = "physx",
    device: r.Devices = "auto",
    workers: r.Workers = None,
    jobs_per_gpu: r.JobsPerGpu = "auto",
    launcher: r.LauncherName = "local",
    ray_address: r.RayAddress = None,
    store: r.Store = None,
    dry_run: r.DryRun = False,
    retries: r.Retries = 2,
    watchdog: r.Watchdog = WATCHDOG_S,
    no_wait: r.NoWait = False,
    out: o.RunsOut = Path("runs"),
    wandb: r.WandbMode = None,
) -> tuple[Request, Execution, list[str]]:
    """Train and evaluate a matrix of runs, and build the leaderboard page.

    KEY=VALUE changes a setting, for instance train.num_envs=512; docs/running.md has them all.
    The same command again continues what was stopped, and skips what is complete.

    Exit code: 0 if every run is complete, 1 if one is not, 2 for a mistake, 130 after Ctrl-C.
    """
    more = baselines.reference_names()
    request = Request(
        tasks=task_names(task),
        algos=names_of("algorithm", algo, [*baselines.known(), *more], [*baselines.names(), *more]),
        algos_named=algo.strip() != "all",
        curricula=names_of("curriculum", curriculum, curricula.known(), curricula.names()),
        levels=names_of("randomization level", randomization, RANDOMIZATION_LEVELS),
        physics=names_of("engine", physics, engines.names()),
        seeds=seeds,
        budget=one_of("budget", budget, ["auto", *config.BUDGETS]),
        overrides=tuple(overrides or ()),
        out=out,
        init=init and init.resolve(),
        wandb=wandb or "",
        command=shlex.join(["python", "-m", "suite.run", *app.argv_of(context)]),
    )
    check_versions(out)
    mode, why_mode = tracker.choose_mode(wandb)
    one_of("launcher", launcher, LAUNCHERS)
    per_gpu = str(JOBS_PER_GPU) if jobs_per_gpu == "auto" else jobs_per_gpu
    if not per_gpu.isdecimal() or len(per_gpu) > 3 or not int(per_gpu):
        raise UserError(f"--jobs-per-gpu must be auto, or 1 to 999, got {shown(jobs_per_gpu)}")
    check_between("--seeds", seeds, 1, MOST_RUNS)
    check_between("--workers", workers, 1, 1000)
    check_between("--retries", retries, 0, 1000)
    if not watchdog >= 1:
        raise UserError(f"--watchdog must be 1 or more, got {watchdog}")
    execution = Execution(
        launcher=launcher,
        devices=_slots(launcher, device, int(per_gpu), workers, ray_address, store),
        jobs_per_gpu=int(per_gpu),
        retries=retries,
        watchdog=watchdog,
        wait=not no_wait,
        dry_run=dry_run,
        ray_address=ray_address,
        store=store,
    )
    chosen, why_budget = choose_budget(budget, execution.devices)
    if launcher == "local":
        specs = [tasks.get(name) for name in request.tasks]
        simulators = [len(config.parts_of(spec)) for spec in specs if not engines.without_simulator(spec)]
        check_memory(execution.devices, max(simulators, default=0))
    request = replace(request, budget=chosen, wandb=mode)
    return request, execution, [note for note in (why_budget, why_mode) if note]


def _slots(
    launcher: str, device: str, per_gpu: int, workers: int | None, ray_address: str | None, store: str | None
) -> list[str]:
    """The device of each of the runs at a time."""
    if launcher == "ray":
        from suite.execute import launch_ray

        found = launch_ray.slots(ray_address, device, per_gpu, workers, store)
    elif ray_address or store:
        raise UserError("--ray-address and --store need --launcher ray")
    else:
        found = devices.slots(device, per_gpu, workers)
    if workers and found[0] != "cpu":
        raise UserError("--workers is for runs on the CPU; for GPUs there is --jobs-per-gpu")
    return found


def parse(argv: Sequence[str] | None) -> tuple[Request, Execution, list[str]]:
    """The request, how to execute it, and what to tell the user about choices made for them.

    Raises:
        UserError: for anything that cannot be done.
    """
    return app.command("suite.run", unknown_option=as_override)(read)(argv)


def as_override(option: str) -> UserError | None:
    """An error that shows how to override a setting which was written as an option; None for any other option."""
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


def launcher_of(execution: Execution, out: Path) -> Launcher:
    """The launcher for the workers of runs in `out`."""
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
