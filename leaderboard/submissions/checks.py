"""Is a submitted run what it says it is? Everything that can be told without running its policy."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import baselines
import tasks
from baselines import policy_header
from baselines.algorithms.registry import get as algorithm
from baselines.learner import warm_start
from leaderboard.data.content import episodes_hash, policy_hash
from leaderboard.data.runs import Entry, Run, read_run
from leaderboard.data.schema import (
    check_config,
    check_evaluation,
    check_provenance,
    check_result,
    check_time,
    read_json,
    read_yaml,
)
from leaderboard.submissions import policy_file
from leaderboard.submissions.bundle import Bundle, check_characters
from leaderboard.submissions.episodes import read_episodes
from suite.errors import UserError, first_line, printable
from suite.plan import config as configs
from suite.plan import parts
from suite.protocol import Protocol, identity
from suite.reproduce import config_of
from suite.runs.evaluation import summary
from suite.untrusted import Unusable
from tasks.core import engines
from tasks.core.settings import as_dict

TEST_TASKS = "GRADUS_TEST_TASKS"  # where this is set in the environment, tasks without physics are taken, for tests
MAX_ITERATION = 0.25  # of the training's env steps: an iteration is never cut, and may run over the budget


@dataclass(frozen=True)
class Submitted:
    """A run of a bundle that passed every check. `folder` is its directory, `name` its path in the bundle.

    `contents` has what the run's policy and its episodes are known by, whatever file they are written in: no other run
    may have one of them. It is empty for the reference policies, which anyone can make.
    """

    name: str
    folder: Path
    run: Run
    config: Mapping[str, Any]
    episodes: Mapping[str, pa.Table]  # by engine, its own first
    contents: tuple[str, ...]


def check(bundle: Bundle) -> list[Submitted]:
    """Every run of a bundle, whose tables `tables.probe` has read before.

    Raises:
        Unusable: with the first reason against one of them, or all together.
    """
    submitted = []
    for name in bundle.runs:
        try:
            submitted.append(_check_run(bundle.folder / name, name, bundle.manifest["division"]))
        except Unusable as error:
            raise Unusable(f"{name}: {error}") from None
    _check_set(submitted)
    return submitted


def names_of_tasks() -> list[str]:
    """The tasks that a submission may be of: of the suite and of packages. Tests add those that need no physics."""
    return tasks.known() if os.environ.get(TEST_TASKS) else [*tasks.names(), *tasks.added()]


def _check_run(folder: Path, name: str, division: str) -> Submitted:
    result, provenance = read_json(folder / "result.json"), read_json(folder / "provenance.json")
    others = [read_json(file) for file in sorted(folder.glob("evaluations/*/evaluation.json"))]
    for file, content, fits in (
        ("result.json", result, check_result),
        ("provenance.json", provenance, check_provenance),
        *(("evaluation.json", other, check_evaluation) for other in others),
    ):
        _check_texts(file, content)
        fits(content)
    for record in (result, *others):
        check_time(record["provenance"]["ended"])
    for record, key in ((other, key) for other in others for key in ("suite_version", "task", "algo", "seed")):
        if record[key] != result[key]:
            raise Unusable(f"{key} in evaluation.json is not what result.json says")
    for record in (result, *others):
        _check_parts(record, result["curriculum"], division)
    if result["task"] not in names_of_tasks():
        raise Unusable(f"the task {result['task']!r} is none of this suite version")
    config = read_config(folder / "config.yaml")
    run, notes = read_run(folder, name)  # recounts success, and compares hashes
    if notes:
        raise Unusable(f"{notes[0].path.rpartition('/')[2]}: {notes[0].reason}")
    spec = tasks.get(run.task)
    _check_protocol(config, run, spec)
    agent = _check_config(config, run, division, spec)
    if name != f"runs/{folder_of(result)}":
        raise Unusable(f"it has to lie in runs/{folder_of(result)}")
    policy = folder / "policy.safetensors"
    kind = policy_file.check(policy, spec)
    if division == "closed":
        assert agent is not None  # `_check_config` refuses a policy that something else trained
        _check_closed(config, run, spec, kind, policy, agent)
    episodes = {}
    for evaluation in (run.evaluation, *run.others):
        if not engines.serves(evaluation.engine, spec):
            raise Unusable(f"{run.task} has no engine {evaluation.engine}")
        where = folder if evaluation.engine == run.entry.engine else folder / "evaluations" / evaluation.engine
        protocol = _protocol(evaluation.record, config, run, evaluation.engine)
        table = episodes[evaluation.engine] = read_episodes(where / "episodes.parquet", spec, protocol)
        _check_aggregates(evaluation.record, table, identity(spec, protocol))
    if provenance != result["provenance"]:
        raise Unusable("provenance.json is not the provenance in result.json")
    return Submitted(name, folder, run, config, episodes, _contents(run, kind, policy, episodes))


def _check_parts(record: Mapping[str, Any], curriculum: str, division: str) -> None:
    """Parts of other packages are for the open division, and the verifier has to have them, in the same version."""
    claimed = record["provenance"].get("parts") or []
    if why := parts.missing(record["provenance"]):
        raise Unusable(why)
    if record["task"] not in names_of_tasks():
        return  # which is told by itself
    found = parts.outside(tasks.get(record["task"]), record["engine"], record["algo"], curriculum)
    if not all(part in claimed for part in found):  # those of a set of tasks may be more
        names = ", ".join(f"{part['kind']} {part['name']}" for part in found) or "none"
        raise Unusable(f"its provenance does not say which parts are of other packages: here {names}")
    if found and division == "closed":
        part = found[0]
        whose = f"{part['kind']} {part['name']} of {part['distribution']} {part['version']}"
        raise Unusable(f"the closed division has the suite's own parts, not {whose}")


def _contents(run: Run, kind: str, policy: Path, episodes: Mapping[str, pa.Table]) -> tuple[str, ...]:
    if kind in policy_file.REFERENCES:
        return ()
    of_policy = f"policy {policy_hash(run.task, policy)}"
    return of_policy, *(f"episodes {engine} {episodes_hash(run.task, table)}" for engine, table in episodes.items())


def _check_texts(file: str, value: Any) -> None:
    """No markup, nothing invisible, and nothing that OmegaConf takes for more than a text, however it was written."""
    if isinstance(value, str):
        check_characters(f"text in {file}", value)
        if "${" in value or value == "???":
            raise Unusable(f"{file} is not resolved: it has an interpolation, or ??? for a missing value")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_texts(file, key)
            _check_texts(file, item)
    elif isinstance(value, list):
        for item in value:
            _check_texts(file, item)


def read_config(path: Path) -> dict[str, Any]:
    """A run's config.yaml as plain data. Raises `Unusable`; `OSError` from the disk."""
    content = read_yaml(path)
    _check_texts("config.yaml", content)
    check_config(content)
    return content


def _check_protocol(config: Mapping[str, Any], run: Run, spec: tasks.TaskSpec) -> None:
    if run.entry.budget not in configs.BUDGETS:
        raise Unusable(f"unknown budget {run.entry.budget!r}")
    protocol = as_dict(configs.defaults(spec, "zero", run.entry.budget).eval, resolve=False)
    if config.get("eval") != protocol:
        raise Unusable("the evaluation is not the protocol's: eval.* cannot be changed in a submission")


def _check_config(config: Mapping[str, Any], run: Run, division: str, spec: tasks.TaskSpec) -> DictConfig | None:
    """The configuration is the suite's own for this run, with nothing but the declared settings changed.

    Returns its `agent`, None for a policy that something else trained.
    """
    result = run.result
    if run.entry.algo not in (*baselines.known(), *baselines.reference_names()):
        if division == "closed":
            raise Unusable(f"the closed division has the suite's algorithms, not {run.entry.algo!r}")
        _check_foreign(config, run)
        return None
    whole = planned(result)
    wanted = configs.identity(as_dict(whole))
    found = configs.identity(dict(config))
    if wanted != found:
        keys = [key for key in wanted if wanted[key] != found.get(key)] or sorted(set(found) - set(wanted))
        raise Unusable(f"{keys[0]} in config.yaml is not what result.json and its overrides say")
    return whole.agent


def planned(result: Mapping[str, Any]) -> DictConfig:
    """The suite's configuration for the run of a checked result.json. Raises `Unusable` where there is none."""
    try:
        config = config_of(result)
        OmegaConf.resolve(config)
    except (UserError, OmegaConfBaseException) as error:
        raise Unusable(f"its settings are none of this suite's: {printable(first_line(error))[:200]}") from None
    return config


def _check_foreign(config: Mapping[str, Any], run: Run) -> None:
    """A policy that something else than the suite trained: all that `suite.evaluate` reads is prescribed."""
    wanted = {"task": run.task, "algo": run.entry.algo, "seed": run.seed, "budget": run.entry.budget}
    wanted["engine"] = run.entry.engine
    wanted["suite_version"] = run.result["suite_version"]
    for key, value in wanted.items():
        if config.get(key) != value:
            raise Unusable(f"{key} in config.yaml is not what result.json says")


def folder_of(result: Mapping[str, Any]) -> str:
    """Where the run of a result.json lies below a folder of runs, and in a bundle below `runs/`."""
    variant = "-".join(result[key] for key in ("curriculum", "randomization", "engine", "budget"))
    if result["overrides"]:
        variant += f"-{configs.digest(dict(result['overrides']))}"
    return f"{result['suite_version']}/{result['task']}/{result['algo']}/{variant}/seed{result['seed']}"


def _check_closed(
    config: Mapping[str, Any], run: Run, spec: tasks.TaskSpec, kind: str, policy: Path, agent: DictConfig
) -> None:
    """The suite's training budget, and the policy that the suite's algorithm exports with these settings."""
    algo, steps = run.entry.algo, run.result["env_steps"]
    for key in ("train.env_steps", "train.init", "multi.tasks"):
        if key in run.result["overrides"]:
            raise Unusable(
                "the closed division trains for one task and the budget's env steps, from scratch;"
                f" {key} is for the open one"
            )
    expected = algo if algo in policy_file.REFERENCES else "discrete" if algorithm(algo).discrete else "mlp"
    if kind != expected:
        raise Unusable(f"the policy is of kind {kind}; {algo} makes one of kind {expected}")
    if algo in policy_file.REFERENCES:
        if steps:
            raise Unusable(f"{algo} is not trained, but env_steps is {steps}")
        header = policy_header.read(policy)[0]
        if algo == "random" and isinstance(header, policy_header.Reference) and header.seed:
            raise Unusable(f"the suite's random actions are of seed 0, these of seed {header.seed}")
        return
    try:
        warm_start.check(policy, spec, algo, agent)
    except warm_start.WarmStartError as error:
        raise Unusable(first_line(error).replace(str(policy), policy.name)[:400]) from None
    if kind == "discrete":
        table, declared = policy_file.discrete_actions(policy), np.array(spec.discrete_actions)
        if table.shape != declared.shape or not np.allclose(table, declared):
            raise Unusable("the policy chooses from other actions than the task declares")
    _check_steps(config["train"], agent.horizon, run)


def _check_steps(train: Mapping[str, Any], horizon: int, run: Run) -> None:
    """It was trained to the end of the iteration in which the budget was reached, which may not be a long one."""
    steps, total = run.result["env_steps"], train["env_steps"]
    num_envs = run.result.get("num_envs") or train["num_envs"]
    allowed = [train["num_envs"]]  # after a failure for lack of memory half of them, down to `min_envs`
    while train["min_envs"] is not None and allowed[-1] > train["min_envs"]:
        allowed.append(max(train["min_envs"], allowed[-1] // 2))
    if num_envs not in allowed:
        raise Unusable(f"it was trained on {num_envs} envs, config.yaml says {allowed[0]}")
    iteration = num_envs * horizon
    if iteration > MAX_ITERATION * total:
        most = f"{MAX_ITERATION:.0%} of the budget's {total} are the most"
        raise Unusable(f"an iteration has {iteration} env steps; in the closed division {most}")
    if steps != (wanted := -(-total // iteration) * iteration):
        raise Unusable(f"it was trained for {steps} env steps; with budget {run.entry.budget} it would be {wanted}")
    if run.curve is None or int(run.curve.env_steps[-1]) != steps:
        raise Unusable(f"progress.parquet does not end at the {steps} env steps of result.json")


def _protocol(record: Mapping[str, Any], config: Mapping[str, Any], run: Run, engine: str) -> Protocol:
    """What an evaluation had to do: the budget's protocol, or on another engine at least its nominal cells."""
    numbers = dict(config["eval"])
    claimed = record.get("protocol")
    if engine != run.entry.engine and isinstance(claimed, Mapping) and claimed.get("name") == "nominal":
        numbers["protocol"] = "nominal"
    return Protocol(run.task, engine, "", **numbers)


def _check_aggregates(record: Mapping[str, Any], episodes: pa.Table, protocol: Mapping[str, Any]) -> None:
    """Everything that a record says in sum, computed again from the episodes."""
    if record.get("protocol") != protocol:
        raise Unusable(f"it was evaluated by another protocol than version {protocol['version']} of {protocol['name']}")
    rows = episodes.to_pylist()
    for row in rows:
        row["violations"] = {k.removeprefix("violation."): v for k, v in row.items() if k.startswith("violation.")}
    for name, value in summary(rows).items():
        if where := _difference(record.get(name), value):
            raise Unusable(f"{name}{where} is claimed, but the episodes give something else")


def _difference(claimed: Any, found: Any) -> str | None:
    """Where two aggregates differ, as the end of a sentence, or None; numbers may differ by rounding."""
    if isinstance(found, Mapping):
        if not isinstance(claimed, Mapping) or set(claimed) != set(found):
            return f" {ascii(claimed)[:60]}"
        return next((f" {key}{d}" for key in found if (d := _difference(claimed[key], found[key]))), None)
    known = isinstance(found, int | float) and math.isfinite(found)
    if not known:  # JSON has no NaN
        return None if claimed is None else f" {ascii(claimed)[:30]}"
    number = isinstance(claimed, int | float) and not isinstance(claimed, bool)
    same = number and math.isclose(claimed, found, rel_tol=1e-6, abs_tol=1e-6)
    return None if same else f" {ascii(claimed)[:30]}, not {found:.6g}"


def _check_set(submitted: Sequence[Submitted]) -> None:
    """No run twice, and no seed left out: whoever trains ten may not choose the best five."""
    seeds: dict[tuple[str, Entry], list[int]] = defaultdict(list)
    owners: dict[tuple[str, str], str] = {}
    for s in submitted:
        seeds[s.run.task, s.run.entry].append(s.run.seed)
        for content in s.contents:
            key = s.run.entry.budget, content  # one policy may be evaluated by the protocols of several budgets
            if key in owners:
                raise Unusable(f"{s.name} has the same {content.partition(' ')[0]} as {owners[key]}")
            owners[key] = s.name
    for (task, entry), found in seeds.items():
        if (missing := min(set(range(len(found) + 1)) - set(found))) < len(found):
            raise Unusable(f"{entry.algo} on {task}: seed {missing} is missing; seeds are 0 to N-1 without a gap")
    counts = defaultdict(set)
    for (_, entry), found in seeds.items():
        counts[entry].add(len(found))
    for entry, numbers in counts.items():
        if len(numbers) > 1:
            raise Unusable(f"{entry.algo} has {min(numbers)} seeds on one task and {max(numbers)} on another")
