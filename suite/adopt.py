"""`python -m suite.adopt POLICY`: a policy that other code trained becomes a run, evaluated like any other."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

import baselines
import tasks
from suite.cli.arguments import Parser, as_path
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

NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")


def parser() -> Parser:
    """Options of `suite.adopt`."""
    p = Parser(
        prog="python -m suite.adopt",
        description="Make a run directory of a policy that other code trained, and evaluate it by the protocol.",
        epilog="The policy is a file as baselines.policy_file.save_policy writes it."
        " Such runs are for the open division.",
    )
    p.add_argument("policy", type=as_path, metavar="POLICY", help="a safetensors file of kind mlp or discrete")
    p.add_argument("--task", required=True, metavar="NAME", help="the task that it acts in")
    p.add_argument("--name", required=True, help="what the algorithm is called on the leaderboard")
    p.add_argument("--env-steps", type=int, required=True, metavar="N", help="env steps that it was trained with")
    p.add_argument("--seed", type=int, default=0, metavar="K", help="which of the algorithm's trainings this is (0)")
    p.add_argument("--budget", default="full", help=f"the protocol's size: {', '.join(configs.BUDGETS)} (full)")
    p.add_argument("--physics", default="physx", metavar="ENGINE", help=f"{', '.join(engines.names())} (physx)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda:K (auto: the first GPU, else the CPU)")
    p.add_argument("--out", type=as_path, default=Path("runs"), metavar="DIR", help="where the runs go (runs)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 if the evaluation fails; `UserError` for bad input."""
    args = parser().parse_args(argv)
    spec = tasks.get(one_of("task", args.task, tasks.known()))
    one_of("budget", args.budget, configs.BUDGETS)
    one_of("engine", args.physics, engines.names())
    if not NAME.fullmatch(args.name) or args.name in (*baselines.known(), *baselines.reference_names()):
        raise UserError(f"--name {args.name!r} has to be small letters, digits and _.+-, and none of the suite's names")
    for option, value, most in (("--env-steps", args.env_steps, 10**15), ("--seed", args.seed, 10**9 - 1)):
        if not 0 <= value <= most:
            raise UserError(f"{option} must be from 0 to {most}, got {value}")
    engine = concrete_engine(args.physics, spec)
    command = shlex.join(["python", "-m", "suite.adopt", *(sys.argv[1:] if argv is None else argv)])
    config = _config(spec, args, engine, command)
    run = RunDir(folder(config, {}, args.out) / f"seed{args.seed}")
    policies.load(args.policy, spec, "cpu")
    check_writable(args.out)
    if run.result.exists():
        raise UserError(f"{run.path} exists; name another --seed, --name or --out")
    check_writable(run.path)
    if not Claimant(run.path).free():
        raise UserError(f"another process works on {run.path}")
    # What an earlier try left is replaced, until there is a result.
    configs.save(config, run)
    run.progress.unlink(missing_ok=True)
    if args.env_steps:  # what a training would have written of itself
        row = {"env_steps": [args.env_steps], "wall_time_s": [0.0], "episodes": [0.0], "success_mean": [float("nan")]}
        atomic(run.progress, lambda temporary: pq.write_table(pa.table(row), temporary))
    atomic(run.policy, lambda temporary: temporary.write_bytes(args.policy.read_bytes()))
    console = Console()
    try:
        result = work(run, console)
    except RunFailed as error:
        print(f"suite.adopt: the evaluation failed: {error}; repeat the command to try again", file=sys.stderr)
        return 1
    console.print(by_grade(f"{args.task}, {args.name}, {engine}", result))
    console.print(f"written to {run.path}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _config(spec: tasks.TaskSpec, args: argparse.Namespace, engine: str, command: str) -> DictConfig:
    where = {"algo": args.name, "seed": args.seed, "randomization": "r0", "train": {"env_steps": args.env_steps}}
    where |= {"engine": engine, "physics": engine, "device": devices.slots(args.device)[0]}
    where |= {"wandb": "disabled", "command": command}
    return OmegaConf.merge(configs.defaults(spec, "zero", args.budget), where)


if __name__ == "__main__":
    sys.exit(exit_code("suite.adopt", main))
