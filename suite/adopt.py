"""`gradus adopt POLICY`: a policy that other code trained becomes a run, evaluated like any other."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console

import baselines
import tasks
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, one_of
from suite.execute import devices
from suite.execute.lease import Claimant
from suite.execute.run_one import RunFailed, work
from suite.plan import config as configs
from suite.plan.matrix import concrete_engine, folder
from suite.plan.preflight import check_writable
from suite.report.summary import by_grade
from suite.runs import policies
from suite.runs.rundir import RunDir, atomic
from tasks.core import engines
from tasks.core.settings import merged

NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")


EXAMPLES = (
    "gradus adopt policy.safetensors --task franka-lift --name rsl-rl-ppo --env-steps 50000000",
    "gradus adopt policy.safetensors --task toy-reach --name mine --env-steps 10000 --seed 1 --budget smoke",
)


@app.command("suite.adopt", EXAMPLES)
def main(
    context: typer.Context,
    policy: Annotated[Path, o.argument("POLICY", "a safetensors file of kind mlp or discrete")],
    task: o.Task,
    name: Annotated[str, o.option("--name", "NAME", "what the algorithm is called on the leaderboard")],
    env_steps: Annotated[int, o.option("--env-steps", "N", "env steps that it was trained with", parser=o.integer)],
    seed: Annotated[int, o.option("--seed", "K", "which of the algorithm's trainings this is", parser=o.integer)] = 0,
    budget: Annotated[
        str, o.named("--budget", "NAME", f"the protocol's size: {', '.join(configs.BUDGETS)}", lambda: configs.BUDGETS)
    ] = "full",
    physics: o.Physics = "physx",
    device: o.Device = "auto",
    out: o.RunsOut = Path("runs"),
    as_json: o.Json = False,
) -> int:
    """Make a run directory of a policy that other code trained, and evaluate it by the protocol.

    The policy is a file as baselines.policy_file.save_policy writes it. Such runs are for the open division.

    Exit code: 0, 1 if the evaluation fails, 2 for a mistake.
    """
    spec = tasks.get(one_of("task", task, tasks.known()))
    one_of("budget", budget, configs.BUDGETS)
    one_of("engine", physics, engines.names())
    if not NAME.fullmatch(name) or name in (*baselines.known(), *baselines.reference_names()):
        raise UserError(f"--name {name!r} has to be small letters, digits and _.+-, and none of the suite's names")
    for option, value, most in (("--env-steps", env_steps, 10**15), ("--seed", seed, 10**9 - 1)):
        if not 0 <= value <= most:
            raise UserError(f"{option} must be from 0 to {most}, got {value}")
    engine = concrete_engine(physics, spec)
    command = shlex.join(["python", "-m", "suite.adopt", *app.argv_of(context)])
    where = {"algo": name, "seed": seed, "randomization": "r0", "train": {"env_steps": env_steps}}
    where |= {"engine": engine, "physics": engine, "device": devices.slots(device)[0]}
    where |= {"wandb": "disabled", "command": command}
    config = merged(configs.defaults(spec, "zero", budget), where)
    run = RunDir(folder(config, {}, out) / f"seed{seed}")
    policies.load(policy, spec, "cpu")
    check_writable(out)
    if run.result.exists():
        raise UserError(f"{run.path} exists; name another --seed, --name or --out")
    check_writable(run.path)
    if not Claimant(run.path).free():
        raise UserError(f"another process works on {run.path}")
    # What an earlier try left is replaced, until there is a result.
    configs.save(config, run)
    run.progress.unlink(missing_ok=True)
    if env_steps:  # what a training would have written of itself
        row = {"env_steps": [env_steps], "wall_time_s": [0.0], "episodes": [0.0], "success_mean": [float("nan")]}
        atomic(run.progress, lambda temporary: pq.write_table(pa.table(row), temporary))
    atomic(run.policy, lambda temporary: temporary.write_bytes(policy.read_bytes()))
    console = Console(stderr=as_json)
    try:
        result = work(run, console)
    except RunFailed as error:
        print(
            f"{app.program_of(context)}: the evaluation failed: {error}; repeat the command to try again",
            file=sys.stderr,
        )
        return 1
    if as_json:
        print(json.dumps({"run": str(run.path)} | {key: result[key] for key in ("success", "return", "episodes")}))
        return 0
    console.print(by_grade(f"{task}, {name}, {engine}", result))
    console.print(f"written to {run.path}", highlight=False, markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("suite.adopt", main))
