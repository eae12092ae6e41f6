"""The options of `suite.run` that no other command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import baselines
import curricula
import tasks
from suite.cli.options import DEVICES, HOW, OUTPUT, WHAT, WHERE, flag, folder, integer, named, number, option
from suite.plan.config import BUDGETS
from tasks.spec import RANDOMIZATION_LEVELS

LAUNCHERS = ("local", "ray")
JOBS_PER_GPU = 2  # 1.8 times the runs per hour of one at a time: docs/clusters.md


def algorithms() -> list[str]:
    """What `--algo` takes."""
    return [*baselines.known(), *baselines.reference_names()]


Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="settings to change", show_default=False)
]

# What to do
TaskNames = Annotated[str, named("--task", "NAMES", "tasks, by comma, or all; a+b: one policy for both", tasks.names)]
AlgorithmNames = Annotated[str, named("--algo", "NAMES", "algorithms, by comma, or all", algorithms)]
CurriculumNames = Annotated[str, named("--curriculum", "NAMES", "teachers, by comma, or all", curricula.known)]
Levels = Annotated[
    str,
    named("--randomization", "LEVELS", "what varies in training, by comma; r0: nothing", lambda: RANDOMIZATION_LEVELS),
]
Budget = Annotated[
    str,
    named(
        "--budget",
        "NAME",
        f"how much: {', '.join(BUDGETS)}; auto: full with a GPU, else smoke",
        lambda: ("auto", *BUDGETS),
    ),
]
Seeds = Annotated[int, option("--seeds", "N", "train with seeds 0 to N-1", parser=integer)]
Init = Annotated[Path | None, folder("--init", "RUN", "start from the policy of a complete run: .../seedK", WHAT)]

# Where it runs
Devices = Annotated[
    str, named("--device", "DEVICE", "auto, cpu or cuda:K; auto: every GPU, else the CPU", lambda: DEVICES, WHERE)
]
Workers = Annotated[
    int | None, option("--workers", "N", "runs at a time on the CPU (by its cores and memory)", WHERE, parser=integer)
]
JobsPerGpu = Annotated[str, option("--jobs-per-gpu", "N", f"runs at a time per GPU; auto: {JOBS_PER_GPU}", WHERE)]
LauncherName = Annotated[str, named("--launcher", "NAME", " or ".join(LAUNCHERS), lambda: LAUNCHERS, WHERE)]
RayAddress = Annotated[
    str | None, option("--ray-address", "HOST:PORT", "an existing Ray cluster (a new one on this machine)", WHERE)
]
Store = Annotated[
    str | None, option("--store", "URL", "fsspec URL through which Ray's workers exchange files (--out)", WHERE)
]

# How they are executed
DryRun = Annotated[bool, flag("--dry-run", "show the runs, what is complete, and the time that is left", HOW)]
Retries = Annotated[int, option("--retries", "N", "further tries of a run that fails", HOW, parser=integer)]
Watchdog = Annotated[
    float, option("--watchdog", "S", "seconds without progress after which a run counts as hung", HOW, parser=number)
]
NoWait = Annotated[bool, flag("--no-wait", "leave the runs to others that other commands work on", HOW)]

WandbMode = Annotated[
    str | None, option("--wandb", "MODE", "online, offline or disabled (online if logged in, else disabled)", OUTPUT)
]
