"""`python -m suite.evaluate RUN`: evaluate the policy of a complete run again, also on another engine."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import tasks
from suite import protocol as protocols
from suite.cli.arguments import Parser, as_path
from suite.errors import UserError, exit_code, first_line, one_of
from suite.execute import devices, process
from suite.plan import config as configs
from suite.plan.matrix import concrete_engine
from suite.plan.preflight import check_writable
from suite.report.summary import by_grade
from suite.runs import evaluation, policies
from suite.runs.rundir import RunDir, sha256
from tasks.core import engines


def parser() -> Parser:
    """Options of `suite.evaluate`."""
    p = Parser(
        prog="python -m suite.evaluate",
        description="Evaluate a complete run's policy on every grade and print success by grade.",
        epilog="On another engine than the run's, the episodes go to RUN/evaluations/ENGINE, where the leaderboard"
        " finds them. On the same one they are compared with the recorded ones, and written only with --out.",
    )
    p.add_argument("run", type=as_path, metavar="RUN", help="a run directory: .../seedK")
    p.add_argument("--physics", metavar="ENGINE", help=f"{', '.join(engines.names())} (the run's own)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda:K (auto: the first GPU, else the CPU)")
    p.add_argument("--protocol", metavar="NAME", help=f"{', '.join(protocols.EPISODES)} (the run's own)")
    p.add_argument("--episodes", type=int, metavar="N", help="episodes of each nominal cell (as in the protocol)")
    p.add_argument("--out", type=as_path, metavar="DIR", help="where episodes.parquet and evaluation.json go")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 if the engine fails; `UserError` for bad input."""
    args = parser().parse_args(argv)
    run = RunDir(args.run)
    config = configs.load(run)
    if config.task not in tasks.known():
        raise UserError(f"{args.run} is of several tasks; name one of {args.run}/tasks/*, each is a run of its own")
    result = run.read_result()
    if result is None:
        raise UserError(f"{args.run} is not complete (no valid result.json): repeat its suite.run command")
    for key in ("task", "algo", "seed", "engine"):
        if config[key] != result[key]:
            raise UserError(f"{args.run}: {key} is {config[key]} in config.yaml and {result[key]} in result.json")
    if sha256(run.policy) != result["policy_sha256"]:
        raise UserError(f"{run.policy} is not the policy that result.json names by policy_sha256")
    policies.check(run.policy, tasks.get(config.task))
    # The run's own engine may be one without physics, which no option lists.
    physics = (
        config.engine if args.physics in (None, config.engine) else one_of("engine", args.physics, engines.names())
    )
    engine = concrete_engine(physics, tasks.get(config.task))
    numbers = dict(config.eval)
    if args.protocol is not None:
        name = one_of("protocol", args.protocol, protocols.EPISODES)
        numbers = vars(configs.evaluation(name)) | {"seed": config.eval.seed}
    if args.episodes is not None:
        configs.check_episodes("--episodes", args.episodes, numbers["episodes_per_env"])
        numbers["episodes_per_grade"] = args.episodes
    protocol = protocols.Protocol(config.task, engine, devices.slots(args.device)[0], **numbers)
    out = args.out
    if out is None and engine != config.engine:
        out = run.path / "evaluations" / engine
    if out is not None:
        if (out / "config.yaml").exists():
            raise UserError(f"--out {out} is a run directory, whose episodes would be overwritten; name another folder")
        check_writable(out)
    command = shlex.join(["python", "-m", "suite.evaluate", *(sys.argv[1:] if argv is None else argv)])
    return _evaluate(run, protocol, result, out, command)


def _evaluate(
    run: RunDir, protocol: protocols.Protocol, result: Mapping[str, Any], out: Path | None, command: str
) -> int:
    console = Console()
    total = evaluation.episodes(protocol)
    what = f"{total} episodes of {protocol.task} with {result['algo']} on {protocol.engine}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch)
        log = folder / "evaluate.log"
        log.unlink(missing_ok=True)
        console.print(f"evaluating {what} ({protocol.device})", highlight=False)
        start = time.monotonic()
        try:
            with console.status("starting") as status:
                rows = evaluation.evaluate(
                    protocol,
                    run.policy,
                    log,
                    lambda done, news: status.update(news or f"{done} of {total} episodes"),
                )
        except evaluation.EvaluationError as error:
            log_hint = f" (see {log})" if out else ""
            print(f"suite.evaluate: {first_line(error)}; nothing was written, try again{log_hint}", file=sys.stderr)
            return 1
        summary = evaluation.summary(rows)
        digest = evaluation.write(folder / "episodes.parquet", rows, protocol, result["algo"])
    console.print(by_grade(f"{protocol.task}, {result['algo']}, {protocol.engine}", summary))
    if out is None and summary["episodes"] == result["episodes"]:
        same = "the same as" if digest == result["episodes_sha256"] else "not the same as"
        console.print(f"the episodes are {same} those recorded by the run")
    if out is None:
        return 0
    evaluation.write_record(out, protocol, result, rows, digest, time.monotonic() - start, command)
    console.print(f"written to {out}", highlight=False, markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    process.follow_parent()
    sys.exit(exit_code("suite.evaluate", main))
