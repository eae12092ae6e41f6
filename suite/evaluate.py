"""`gradus evaluate RUN`: evaluate the policy of a complete run again, also on another engine."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import tasks
from suite import protocol as protocols
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, first_line, one_of
from suite.execute import devices, process
from suite.plan import config as configs
from suite.plan.matrix import concrete_engine
from suite.plan.preflight import check_writable
from suite.report.summary import by_grade
from suite.runs import evaluation, policies
from suite.runs.rundir import RunDir, sha256
from tasks.core import engines

EXAMPLES = (
    "gradus evaluate runs/0.1.0/toy-reach/ppo/none-r0-torch-smoke/seed0",
    "gradus evaluate runs/0.1.0/ant-run/ppo/none-r0-ovphysx-full/seed0 --physics newton_mjwarp --device cuda:0",
    "gradus evaluate runs/0.1.0/ant-run/ppo/none-r0-ovphysx-full/seed0 --protocol quick --out again --json",
)


@app.command("suite.evaluate", EXAMPLES)
def main(
    context: typer.Context,
    folder: o.Run,
    physics: Annotated[
        str | None,
        o.named("--physics", "ENGINE", f"{', '.join(engines.names())} (the run's own)", engines.names, o.WHERE),
    ] = None,
    device: o.Device = "auto",
    protocol_name: Annotated[
        str | None,
        o.named(
            "--protocol", "NAME", f"{', '.join(protocols.EPISODES)} (the run's own)", lambda: [*protocols.EPISODES]
        ),
    ] = None,
    episodes: Annotated[
        int | None, o.option("--episodes", "N", "episodes of each nominal cell (as in the protocol)", parser=o.integer)
    ] = None,
    out: Annotated[Path | None, o.folder("--out", "DIR", "where episodes.parquet and evaluation.json go")] = None,
    as_json: o.Json = False,
) -> int:
    """Evaluate a complete run's policy again, on every grade, and print success by grade.

    On another engine than the run's, the episodes go to RUN/evaluations/ENGINE, where the leaderboard finds them. On
    the same one they are compared with the recorded ones, and written only with --out.

    Exit code: 0, 1 if the engine fails, 2 for a mistake.
    """
    run = RunDir(folder)
    config = configs.load(run)
    if config.task not in tasks.known():
        raise UserError(f"{folder} is of several tasks; name one of {folder}/tasks/*, each is a run of its own")
    result = run.read_result()
    if result is None:
        raise UserError(f"{folder} is not complete (no valid result.json): repeat its suite.run command")
    for key in ("task", "algo", "seed", "engine"):
        if config[key] != result[key]:
            raise UserError(f"{folder}: {key} is {config[key]} in config.yaml and {result[key]} in result.json")
    if sha256(run.policy) != result["policy_sha256"]:
        raise UserError(f"{run.policy} is not the policy that result.json names by policy_sha256")
    policies.check(run.policy, tasks.get(config.task))
    # The run's own engine may be one without physics, which no option lists.
    own = config.engine
    wanted = own if physics is None or physics == own else one_of("engine", physics, engines.names())
    engine = concrete_engine(wanted, tasks.get(config.task))
    numbers = dict(config.eval)
    if protocol_name is not None:
        name = one_of("protocol", protocol_name, protocols.EPISODES)
        numbers = vars(configs.evaluation(name)) | {"seed": config.eval.seed}
    if episodes is not None:
        configs.check_episodes("--episodes", episodes, numbers["episodes_per_env"])
        numbers["episodes_per_grade"] = episodes
    protocol = protocols.Protocol(config.task, engine, devices.slots(device)[0], **numbers)
    if out is None and engine != config.engine:
        out = run.path / "evaluations" / engine
    if out is not None:
        if (out / "config.yaml").exists():
            raise UserError(f"--out {out} is a run directory, whose episodes would be overwritten; name another folder")
        check_writable(out)
    command = shlex.join(["python", "-m", "suite.evaluate", *app.argv_of(context)])
    return _evaluate(run, protocol, result, out, command, app.program_of(context), as_json)


def _evaluate(
    run: RunDir,
    protocol: protocols.Protocol,
    result: Mapping[str, Any],
    out: Path | None,
    command: str,
    program: str,
    as_json: bool,
) -> int:
    console = Console(stderr=as_json)
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
            print(f"{program}: {first_line(error)}; nothing was written, try again{log_hint}", file=sys.stderr)
            return 1
        summary = evaluation.summary(rows)
        digest = evaluation.write(folder / "episodes.parquet", rows, protocol, result["algo"])
    if as_json:
        print(json.dumps(summary | {"engine": protocol.engine, "episodes_sha256": digest, "out": out and str(out)}))
    else:
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
