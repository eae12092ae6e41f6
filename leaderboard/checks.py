"""Is a submitted run what it says it is? Everything that can be told without running its policy."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from omegaconf import OmegaConf

import baselines
import tasks
from leaderboard import policy_file
from leaderboard.bundle import Bundle, check_characters
from leaderboard.episodes import read_episodes
from leaderboard.runs import Run, read_run
from leaderboard.schema import Unusable, read_json
from suite import config as configs
from suite.errors import UserError, first_line
from suite.evaluation import summary
from suite.protocol import Protocol, identity
from suite.reproduce import config_of

MAX_TEXT = 10_000  # of one string in a run's JSON or YAML


@dataclass(frozen=True)
class Submitted:
    """A run of a bundle that stood every check. `folder` is its directory, `name` its path in the bundle."""

    name: str
    folder: Path
    run: Run
    config: Mapping[str, Any]
    episodes: Mapping[str, pa.Table]  # by engine, its own first


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


def _check_run(folder: Path, name: str, division: str) -> Submitted:
    for file in sorted(folder.rglob("*.json")):
        _check_texts(file.name, read_json(file))
    config = read_config(folder / "config.yaml")
    run, notes = read_run(folder, name)  # recounts success, and compares hashes
    if notes:
        raise Unusable(f"{notes[0].path.rpartition('/')[2]}: {notes[0].reason}")
    if run.task not in tasks.known():
        raise Unusable(f"the task {run.task!r} is none of this suite version")
    spec = tasks.get(run.task)
    _check_protocol(config, run, spec)
    _check_config(config, run, division, spec)
    if name != f"runs/{folder_of(run.result)}":
        raise Unusable(f"it has to lie in runs/{folder_of(run.result)}")
    kind = policy_file.check(folder / "policy.safetensors", spec)
    if division == "closed":
        _check_closed(config, run, spec, kind, folder)
    episodes = {}
    for evaluation in (run.evaluation, *run.others):
        if evaluation.engine not in spec.engines:
            raise Unusable(f"{run.task} has no engine {evaluation.engine}")
        where = folder if evaluation.engine == run.entry.engine else folder / "evaluations" / evaluation.engine
        protocol = _protocol(evaluation.record, config, evaluation.engine)
        table = episodes[evaluation.engine] = read_episodes(where / "episodes.parquet", spec, protocol)
        _check_aggregates(evaluation.record, table, identity(spec, protocol))
    if read_json(folder / "provenance.json") != run.result["provenance"]:
        raise Unusable("provenance.json is not the provenance in result.json")
    return Submitted(name, folder, run, config, episodes)


def _check_texts(file: str, value: Any) -> None:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise Unusable(f"a text in {file} has {len(value)} characters, more than {MAX_TEXT}")
        check_characters(f"text in {file}", value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_texts(file, key)
            _check_texts(file, item)
    elif isinstance(value, list):
        for item in value:
            _check_texts(file, item)


def read_config(path: Path) -> dict[str, Any]:
    """A run's config.yaml as plain data, with nothing that is more than data.

    Raises:
        Unusable: for YAML with aliases or tags, for interpolations, and where it is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        for event in yaml.parse(text, yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
                raise Unusable("config.yaml has aliases or tags, which a run's configuration never has")
        content = yaml.load(text, yaml.CSafeLoader)
    except Unusable:
        raise
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        raise Unusable("config.yaml is damaged: not YAML") from None
    if not isinstance(content, dict) or "${" in text:
        raise Unusable("config.yaml is not a resolved configuration")
    _check_texts("config.yaml", content)
    return content


def _check_protocol(config: Mapping[str, Any], run: Run, spec: tasks.TaskSpec) -> None:
    if run.entry.budget not in configs.BUDGETS:
        raise Unusable(f"unknown budget {run.entry.budget!r}")
    protocol = OmegaConf.to_container(configs.defaults(spec, "zero", run.entry.budget).eval)
    if config.get("eval") != protocol:
        raise Unusable("the evaluation is not the protocol's: eval.* cannot be changed in a submission")


def _check_config(config: Mapping[str, Any], run: Run, division: str, spec: tasks.TaskSpec) -> None:
    """The configuration is the suite's own for this run, with nothing but the declared settings changed."""
    result = run.result
    if run.entry.algo not in (*baselines.names(), *baselines.reference_names()):
        if division == "closed":
            raise Unusable(f"the closed division has the suite's algorithms, not {run.entry.algo!r}")
        _check_foreign(config, run)
        return
    try:
        planned = config_of(result)
    except UserError as error:
        raise Unusable(f"its settings are none of this suite's: {first_line(error)[:200]}") from None
    planned = OmegaConf.to_container(planned, resolve=True)
    planned, found = configs.identity(planned), configs.identity(dict(config))
    if planned != found:
        keys = [key for key in planned if planned[key] != found.get(key)] or sorted(set(found) - set(planned))
        raise Unusable(f"{keys[0]} in config.yaml is not what result.json and its overrides say")


def _check_foreign(config: Mapping[str, Any], run: Run) -> None:
    """A policy that something else than the suite trained: only what the evaluation needs is prescribed."""
    wanted = {"task": run.task, "algo": run.entry.algo, "seed": run.seed, "budget": run.entry.budget}
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


def _check_closed(config: Mapping[str, Any], run: Run, spec: tasks.TaskSpec, kind: str, folder: Path) -> None:
    """The suite's training budget and agents' interface."""
    algo, steps = run.entry.algo, run.result["env_steps"]
    for key in ("train.env_steps", "train.init", "multi.tasks"):
        if key in run.result["overrides"]:
            raise Unusable(
                "the closed division trains for one task and the budget's env steps, from scratch;"
                f" {key} is for the open one"
            )
    expected = algo if algo in policy_file.REFERENCES else "discrete" if algo == "dqn" else "mlp"
    if kind != expected:
        raise Unusable(f"the policy is of kind {kind}; {algo} makes one of kind {expected}")
    if algo in policy_file.REFERENCES:
        if steps:
            raise Unusable(f"{algo} is not trained, but env_steps is {steps}")
        return
    if kind == "discrete":
        table = policy_file.discrete_actions(folder / "policy.safetensors")
        if not np.allclose(table, np.array(spec.discrete_actions)):
            raise Unusable("the policy chooses from other actions than the task declares")
    total = config["train"]["env_steps"]
    longest = total + config["train"]["num_envs"] * config["agent"]["horizon"]  # an iteration is never cut
    if not total <= steps < longest:
        raise Unusable(f"it was trained for {steps} env steps; budget {run.entry.budget} has {total}")
    if run.curve is None or int(run.curve.env_steps[-1]) != steps:
        raise Unusable(f"progress.parquet does not end at the {steps} env steps of result.json")


def _protocol(record: Mapping[str, Any], config: Mapping[str, Any], engine: str) -> Protocol:
    """What an evaluation had to do: the budget's protocol, or on another engine at least its nominal cells."""
    numbers = dict(config["eval"])
    claimed = record.get("protocol")
    if engine != config["engine"] and isinstance(claimed, Mapping) and claimed.get("name") == "nominal":
        numbers["protocol"] = "nominal"
    return Protocol(config["task"], engine, "", **numbers)


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
    seeds: dict[tuple, list[int]] = defaultdict(list)
    hashes: dict[str, str] = {}
    for s in submitted:
        seeds[s.run.task, s.run.entry].append(s.run.seed)
        digest = s.run.result["episodes_sha256"]
        trained = s.run.result["env_steps"] > 0
        if trained and digest in hashes:
            raise Unusable(f"{s.name} has the same episodes as {hashes[digest]}")
        hashes[digest] = s.name
    for (task, entry), found in seeds.items():
        if missing := set(range(max(found) + 1)) - set(found):
            raise Unusable(f"{entry.algo} on {task}: seed {min(missing)} is missing; seeds are 0 to N-1 without a gap")
    counts = defaultdict(set)
    for (_, entry), found in seeds.items():
        counts[entry].add(len(found))
    for entry, numbers in counts.items():
        if len(numbers) > 1:
            raise Unusable(f"{entry.algo} has {min(numbers)} seeds on one task and {max(numbers)} on another")
