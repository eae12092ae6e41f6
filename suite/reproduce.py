"""`gradus reproduce RUN`: do a recorded run again in a fresh folder, and compare."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table
from scipy.stats import fisher_exact
from scipy.stats import t as student

import suite
import tasks
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, first_line, shown, unknown
from suite.execute import devices
from suite.execute.run_one import RunFailed, work
from suite.plan import config as configs
from suite.plan import parts, values
from suite.plan.matrix import check_level, concrete_engine, folder
from suite.plan.preflight import check_writable
from suite.report import compare
from suite.runs import schemas
from suite.runs.rundir import RunDir, read_json, write_json
from tasks.core import engines
from tasks.core.settings import as_dict, merged

LEVEL = 0.99  # of the interval that a further seed is expected in
MAX_COMMAND = 10_000  # characters
SEEDS = 3  # from which on seeds say how much seeds differ


def config_of(result: Mapping[str, Any]) -> DictConfig:
    """The resolved configuration of the run behind a result.json, without where and how it is executed.

    Raises:
        UserError: for a task, algorithm, budget, teacher or setting that this suite version does not have.
    """
    if result.get("suite_version") != suite.__version__:
        raise UserError(f"the run is of suite version {result.get('suite_version')}, this is {suite.__version__}")
    if result["task"] not in tasks.known():
        raise UserError(f"unknown task {shown(result['task'])!r}")
    changes = dict(result["overrides"])
    trained_on = changes.pop("multi.tasks", result["task"])
    try:
        default = configs.defaults(tasks.get(trained_on), result["algo"], result["budget"], result["curriculum"])
    except (KeyError, ValueError, TypeError, OSError, UserError) as error:
        raise UserError(f"unknown algorithm, tasks, budget or teacher: {shown(first_line(error))}") from None
    init = changes.pop("train.init", "")
    config, unused = configs.change(default, changes)
    if unused:
        raise UserError(f"{shown(result['algo'])} has no setting {shown(sorted(unused)[0])}")
    where = {key: result[key] for key in ("task", "engine", "randomization", "seed")}
    where |= {"train": {"init": init}, "physics": result["engine"], "device": "cpu", "wandb": "disabled", "command": ""}
    try:
        return merged(config, values.literal(where))
    except OmegaConfBaseException as error:
        raise UserError(f"the result says what no run can be: {shown(first_line(error))}") from None


EXAMPLES = (
    "gradus reproduce leaderboard/published/runs/0.1.0/cartpole-balance/ppo/none-r0-ovphysx-smoke/seed0",
    "gradus reproduce result.json --out again --device cpu",
)


@app.command("suite.reproduce", EXAMPLES)
def main(
    context: typer.Context,
    recorded: Annotated[Path, o.argument("RUN", "a run directory, or its result.json")],
    device: o.Device = "auto",
    out: Annotated[Path, o.folder("--out", "DIR", "where the new run goes")] = Path("reproduced"),
    as_json: o.Json = False,
) -> int:
    """Do a run again in a fresh folder and compare: bit for bit on the same stack, else by statistics.

    Exit code: 0 if the run was reproduced, 1 if not, 2 for a mistake.
    """
    result = _read(recorded)
    if why := parts.missing(result["provenance"]):
        raise UserError(why)
    config = config_of(result)
    spec = tasks.get(config.task)
    if not engines.serves(config.engine, spec):
        raise unknown("engine", config.engine, spec.engines)
    concrete_engine(config.engine, spec)  # is it here?
    if config.multi:
        raise UserError(f"the policy was trained for several tasks; do it with suite.run --task {config.multi.tasks}")
    if config.train.init:
        raise UserError("the run starts from another run's policy (train.init); do it with suite.run --init RUN")
    check_level(spec, config.randomization)
    configs.check_curriculum(config, spec, config.randomization)
    device = devices.slots(device)[0]
    command = shown(result.get("command", ""), MAX_COMMAND)
    config = merged(config, values.literal({"device": device, "command": command}))
    check_recorded(recorded, config)
    run = RunDir(folder(config, result["overrides"], out) / f"seed{config.seed}")
    if run.path.exists():
        raise UserError(f"{run.path} exists; name a fresh --out")
    check_writable(run.path)
    recorded = recorded if recorded.is_dir() else recorded.parent
    return _reproduce(recorded, result, config, run, app.program_of(context), as_json)


def _read(path: Path) -> dict[str, Any]:
    file = path / "result.json" if path.is_dir() else path
    result = read_json(file)
    if result is None:
        raise UserError(f"{file} cannot be read as a result: name a complete run directory, or its result.json")
    other = result.get("suite_version", suite.__version__) != suite.__version__  # told by `config_of`
    if not other and (wrong := schemas.fault(result)):
        raise UserError(f"{file} is no result.json: {wrong}")
    return result


def check_recorded(path: Path, config: DictConfig) -> None:
    """Raise `UserError` if the config.yaml beside the result describes another run than the result."""
    if (found := configs.read(RunDir(path if path.is_dir() else path.parent))) is None:
        return
    planned = configs.identity(as_dict(config))
    found = configs.identity(found)
    if keys := [key for key in planned if planned[key] != found.get(key)]:
        raise UserError(f"config.yaml and result.json of {path} differ in {', '.join(keys)}")


def _reproduce(
    recorded: Path,
    result: Mapping[str, Any],
    config: DictConfig,
    run: RunDir,
    program: str = "suite.reproduce",
    as_json: bool = False,
) -> int:
    console = Console(stderr=as_json)
    configs.save(config, run)
    console.print(f"reproducing in {run.path} ({config.device})", highlight=False, markup=False, soft_wrap=True)
    console.print(f"recorded by: {config.command}", highlight=False, markup=False, soft_wrap=True)
    try:
        again = work(run, console)
    except RunFailed as error:
        print(f"{program}: the run failed: {error}", file=sys.stderr)
        return 1
    outcome = judge(result, again, results_of_seeds(recorded.parent))
    write_json(run.path / "reproduction.json", outcome)
    console.print(_table(result, again))
    console.print(f"{outcome['verdict']}: {outcome['reason']}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps(outcome | {"run": str(run.path)}))
    return 0 if outcome["verdict"] == "reproduced" else 1


def results_of_seeds(setting: Path) -> list[dict[str, Any]]:
    """Results of the seeds in a setting's folder; of published ones only the best has its policy beside it."""
    found = [read_json(file) for file in sorted(setting.glob("seed*/result.json"))]
    return [result for result in found if result and not schemas.fault(result)]


def judge(recorded: Mapping[str, Any], again: Mapping[str, Any], seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether `again` is a reproduction of `recorded`, both results; `seeds` are those of the recorded setting.

    On another stack a training takes another path, as if it had another seed. So its success has to lie where a
    further seed's is expected: the prediction interval of a normal distribution at `LEVEL`. With fewer than `SEEDS`
    seeds that is not known, and the two policies themselves are compared, at `compare.ALPHA`.
    """
    stacks = recorded["provenance"], again["provenance"]
    ran_on = [recorded.get("device"), again.get("device")]
    why = compare.why_not_bitwise(recorded["task"], recorded["engine"], *stacks, ran_on)
    equal = all(recorded[key] == again[key] for key in ("policy_sha256", "episodes_sha256"))
    found = {"bitwise": equal, "not_bitwise_because": why, "recorded_seeds": len(seeds)}
    if equal:
        return found | {"verdict": "reproduced", "reason": "policy and episodes are equal in every bit"}
    if why is None:
        names = [k for k in ("policy_sha256", "episodes_sha256") if recorded[k] != again[k]]
        reason = f"the stack is the same, but {' and '.join(names)} differ"
        return found | {"verdict": "not reproduced", "reason": reason}
    if len(seeds) >= SEEDS:
        low, high = expected(seeds)
        value = _mean(again)
        holds = low <= value <= high
        reason = f"mean success {value:.3f}; a further seed is expected in {low:.3f} to {high:.3f} ({why})"
        found |= {"expected": [low, high], "mean_success": value}
    else:
        p_values = _p_values(recorded, again)
        holds = min(p_values.values()) >= compare.ALPHA
        cell = min(p_values, key=lambda name: p_values[name])
        reason = f"smallest p-value, after Holm's correction, {p_values[cell]:.2g} at {cell} ({why})"
        if not holds:
            reason += f"; with {SEEDS} recorded seeds it would be known how much trainings differ"
        found |= {"p_values": p_values}
    return found | {"verdict": "reproduced" if holds else "not reproduced", "reason": reason}


def expected(seeds: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Interval that the mean success of one more seed lies in with probability `LEVEL`."""
    means = np.array([_mean(result) for result in seeds])
    n, episodes = len(means), sum(seeds[0]["episodes"].values())
    smoothed = (means.mean() * episodes + 1) / (episodes + 2)  # seeds without a failure do not promise none
    variance = max(means.var(ddof=1), smoothed * (1 - smoothed) / episodes)
    width = student.ppf((1 + LEVEL) / 2, n - 1) * math.sqrt(variance * (1 + 1 / n))
    return max(0.0, float(means.mean() - width)), min(1.0, float(means.mean() + width))


def _mean(result: Mapping[str, Any]) -> float:
    return float(np.mean(list(result["success"].values())))


def _p_values(recorded: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, float]:
    """Fisher's exact test of success in each cell, with Holm's correction."""
    found = {}
    for cell in recorded["success"]:
        counts = [(round(r["success"][cell] * r["episodes"][cell]), r["episodes"][cell]) for r in (recorded, again)]
        test: Any = fisher_exact([[k, n - k] for k, n in counts])
        found[cell] = float(test.pvalue)  # scipy declares no fields
    return dict(zip(found, compare.holm(list(found.values())), strict=True))


def _table(recorded: Mapping[str, Any], again: Mapping[str, Any]) -> Table:
    table = Table(title=f"{recorded['task']}, {recorded['algo']}, seed {recorded['seed']}", title_justify="left")
    for name in ("cell", "recorded", "again"):
        table.add_column(name, justify="left" if name == "cell" else "right")
    for cell, success in recorded["success"].items():
        table.add_row(cell, f"{success:.3f}", f"{again['success'][cell]:.3f}")
    return table


if __name__ == "__main__":
    sys.exit(exit_code("suite.reproduce", main))
