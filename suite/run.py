"""`gradus run`: train and evaluate a matrix of runs, and build the leaderboard page."""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

from suite.cli import app, arguments
from suite.errors import EXIT_INTERRUPTED, exit_code
from suite.execute import scheduler
from suite.plan import estimate, plans, preflight
from suite.plan.matrix import plan
from suite.report import display, summary

EXAMPLES = (
    "gradus run --task all --algo ppo",
    "gradus run --task go2-velocity,franka-lift --algo ppo,sac --seeds 5 --curriculum uniform --budget quick",
    "gradus run --task cartpole-balance --algo ppo --device cpu train.num_envs=64 agent.learning_rate=1e-3 --dry-run",
)


@app.command("suite.run", EXAMPLES, arguments.as_override)
@wraps(arguments.read)
def main(**options: Any) -> int:  # noqa: D103 (it is that of `read`)
    request, execution, notes = arguments.read(**options)
    jobs = plan(request)
    damaged = [job.damage for job in jobs if job.damage]
    jobs = [job for job in jobs if not job.damage]
    for reason in damaged:
        print(f"{app.program_of(options['context'])}: left out: {reason}", file=sys.stderr)
    if execution.dry_run:
        estimate.show(jobs, execution.devices, request.out)
        return 1 if damaged else 0
    preflight.check_writable(request.out)  # last: a command that cannot be carried out leaves nothing behind
    if execution.launcher == "local":
        preflight.check_caches(job.setting["engine"] for job in jobs if not job.complete)
    for note in notes:
        print(note)
    complete = sum(job.complete for job in jobs)
    where = f"{len(execution.devices)} at a time on {execution.devices[0].partition(':')[0]}"
    print(f"{len(jobs)} runs ({complete} already complete) in {request.out}, {where}", flush=True)
    plans.save(jobs, request)
    launcher = arguments.launcher_of(execution, request.out)
    try:
        tracked = scheduler.execute(jobs, launcher, display.choose(), execution.retries, execution.wait)
    except KeyboardInterrupt:
        print("\nstopped; the same command continues from the last checkpoints", file=sys.stderr)
        return EXIT_INTERRUPTED
    code = summary.show(tracked, request.out)
    return 1 if damaged else code


if __name__ == "__main__":
    sys.exit(exit_code("suite.run", main))
