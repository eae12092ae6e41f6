"""The configuration of one run: typed, complete, and composed from defaults and dotted overrides."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import baselines
import curricula
import suite
from baselines import config as agents
from suite import protocol as protocols
from suite import untrusted
from suite.errors import UserError, first_line, one_of, shown
from suite.execute.process import out_of_memory
from suite.plan import parts, values
from suite.plan.values import check_between
from suite.runs.rundir import RunDir, atomic, read_json
from tasks.core.settings import as_dict, merged
from tasks.multitask.declare import SEPARATOR, MultiTaskSpec
from tasks.spec import GRADES, TaskSpec

EVALUATION_SEED = 2_000_003
"""Where the evaluation's draws start, for every run: it never depends on the training seed."""

BUDGETS = ("smoke", "quick", "full")
_PROTOCOLS = {"smoke": "nominal", "quick": "quick", "full": "standard"}
_CHECKPOINTS = {"smoke": 4, "quick": 8, "full": 8}

LOCAL = ("physics", "device", "wandb", "command", "init")
"""Keys that say where and how a run is executed; changing one does not make another run."""

_FINGERPRINT = "# identity sha256 "

_SET_BY_FLAG = {
    "task": "--task",
    "algo": "--algo",
    "seed": "--seeds",
    "budget": "--budget",
    "curriculum.name": "--curriculum",
    "randomization": "--randomization",
    "physics": "--physics",
    "engine": "--physics",
    "device": "--device",
    "wandb": "--wandb",
    "train.init": "--init",
    "agent.num_envs": "train.num_envs=N",
    "agent.env_steps": "train.env_steps=N",
    "multi.tasks": "--task",
}


@dataclass
class TrainConfig:
    """How much is trained, on how many envs, with how many evenly spaced checkpoints (None: see `checkpoints`).

    No budget trains on fewer envs than it says, because that is another training. Where `min_envs` is set, one that ran
    out of GPU memory is tried again with half of them, down to this.
    `init`: SHA-256 of the policy that the training starts from; empty for one from scratch.
    `curve`: at each checkpoint, and before the training, the policy is evaluated on every grade.
    """

    num_envs: int = MISSING
    min_envs: int | None = None
    env_steps: int = MISSING
    checkpoints: int | None = None
    curve: bool = False
    init: str = ""


@dataclass
class EvaluationConfig:
    """The protocol and its numbers, see `suite.protocol.Protocol`."""

    protocol: str = MISSING
    episodes_per_grade: int = MISSING
    episodes_per_cell: int = MISSING
    episodes_per_env: int = MISSING
    seed: int = EVALUATION_SEED


@dataclass
class RunConfig:
    """One run. `agent`, `curriculum` and `multi` are typed by `baselines.config` and `curricula.config`.

    `multi` is there where one policy is trained for several tasks.
    """

    suite_version: str = MISSING
    task: str = MISSING
    algo: str = MISSING
    curriculum: Any = None
    randomization: str = MISSING
    engine: str = MISSING
    budget: str = MISSING
    seed: int = MISSING
    train: TrainConfig = MISSING
    eval: EvaluationConfig = MISSING
    agent: Any = None
    multi: Any = None
    physics: str = MISSING
    device: str = MISSING
    wandb: str = MISSING
    command: str = MISSING
    init: str = ""  # the run whose policy `train.init` names


def evaluation(protocol: str) -> EvaluationConfig:
    """The numbers of a protocol."""
    per_grade, per_cell, per_env = protocols.EPISODES[protocol]
    return EvaluationConfig(protocol, per_grade, per_cell, per_env)


def defaults(spec: TaskSpec, algo: str, budget: str, curriculum: str = "none") -> DictConfig:
    """The configuration without overrides; the keys that the job matrix fills in are still missing.

    Raises `UserError` for a teacher or an algorithm without settings: its entry in the list of names is not enough.
    """
    config = OmegaConf.structured(
        RunConfig(
            suite_version=suite.__version__,
            task=spec.name,
            algo=algo,
            budget=budget,
            curriculum=_loaded(curricula.config.load, curriculum),
            train=TrainConfig(num_envs=1, env_steps=0),
            eval=evaluation(_PROTOCOLS[budget]),
        )
    )
    if algo in baselines.reference_names():
        config.agent = {}
        return config
    if isinstance(spec, MultiTaskSpec):
        config.multi = curricula.config.MixConfig(tasks=spec.name)
    agent = _loaded(agents.load, algo, parts_of(spec)[0].name, budget)  # the first task's settings stand for all
    config.train.num_envs = agent.num_envs
    config.train.env_steps = spec.budgets[budget] if agent.env_steps is None else agent.env_steps
    # One place to set each: the agent follows.
    agent.num_envs, agent.env_steps = "${train.num_envs}", "${train.env_steps}"
    config.agent = agent
    return config


def _loaded(load: Callable[..., DictConfig], *names: str) -> DictConfig:
    try:
        return load(*names)
    except (ValueError, OSError) as error:
        raise UserError(first_line(error)) from None


def checkpoints(config: DictConfig, spec: TaskSpec) -> int:
    """How many evenly spaced checkpoints a training has.

    Those of the budget, but two episodes apart: at each of them all envs start afresh, and a training in which they
    came closer would never see the end of an episode.
    """
    if config.train.checkpoints is not None:
        return config.train.checkpoints
    apart = 2 * spec.max_episode_steps * config.train.num_envs
    return max(1, min(_CHECKPOINTS[config.budget], config.train.env_steps // apart))


def override(config: DictConfig, items: Sequence[str]) -> tuple[DictConfig, set[str]]:
    """Apply `key=value` items and check the outcome; also returns the keys that this algorithm does not have.

    Raises:
        UserError: for a malformed item, a key that no algorithm has, a value of another type or out of range.
    """
    changed = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UserError(f"expected key=value, got {shown(item)!r} (for instance train.num_envs=1024)")
        try:
            changed[key] = values.parse(value)
        except ValueError as error:
            raise UserError(f"{shown(item)}: {error}") from None
    return change(config, changed)


def change(config: DictConfig, changed: Mapping[str, Any]) -> tuple[DictConfig, set[str]]:
    """Apply dotted keys with their values, as `override` does."""
    unused = set()
    known = settable(config)
    for key, value in changed.items():
        if key in _SET_BY_FLAG:
            raise UserError(f"{key} cannot be overridden; set it with {_SET_BY_FLAG[key]}")
        if key not in known:
            unused.add(key)
            continue
        section, _, name = key.partition(".")
        if isinstance(value, list) != isinstance(known[key], list):
            wanted = "a list like [a, b]" if isinstance(known[key], list) else "a value, not a list"
            raise UserError(f"{key}={shown(value)}: expected {wanted}")
        try:
            config = merged(config, {section: {name: values.plain(value)}})
        except (OmegaConfBaseException, TypeError, ValueError) as error:
            raise UserError(f"{key}={shown(value)}: {shown(first_line(error))}") from None
    _check(config)
    return config, unused


def settable(config: DictConfig) -> dict[str, Any]:
    """Dotted keys that the command line may override, and their values; a list is one value."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, node: dict[str, Any]) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(f"{prefix}{key}.", value)
            elif f"{prefix}{key}" not in _SET_BY_FLAG:
                flat[f"{prefix}{key}"] = value

    content, trained = as_dict(config), config.algo not in baselines.reference_names()
    for section in ("curriculum", "train", "eval", "agent", "multi") if trained else ("eval",):
        walk(f"{section}.", content[section] or {})
    return flat


def known_settings() -> list[str]:
    """Every dotted key that some run has and the command line may override."""
    sections = {"train": [TrainConfig], "eval": [EvaluationConfig], "agent": agents.schemas()}
    sections |= {"curriculum": curricula.config.schemas(), "multi": [curricula.config.MixConfig]}
    keys = [f"{name}.{field.name}" for name, types in sections.items() for kind in types for field in fields(kind)]
    return [key for key in dict.fromkeys(keys) if key not in _SET_BY_FLAG]


def changes(default: DictConfig, config: DictConfig) -> dict[str, Any]:
    """Overridable key to value, where the value is not the default."""
    before = settable(default)
    changed = {key: value for key, value in settable(config).items() if before.get(key) != value}
    return changed | ({"train.init": config.train.init} if config.train.init else {})


def digest(overrides: Mapping[str, Any]) -> str:
    """Eight hex digits that name a set of overrides."""
    return hashlib.sha256(json.dumps(overrides, sort_keys=True).encode()).hexdigest()[:8]


def save(config: DictConfig, run: RunDir) -> None:
    """Write the resolved configuration to the run directory, after a line with the fingerprint of its identity."""
    content = as_dict(config)
    text = f"{_FINGERPRINT}{fingerprint(content)}\n{OmegaConf.to_yaml(config, resolve=True)}"
    atomic(run.config, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def load(run: RunDir) -> DictConfig:
    """Read a run's configuration. Raises `UserError` if there is none, or none of this suite version."""
    content = read(run)
    if content is None:
        raise UserError(f"{run.path} is not a run directory: it has no config.yaml")
    version = content.get("suite_version")
    if version != suite.__version__:
        raise UserError(
            f"{run.path} was made by suite version {shown(version)}, this is {suite.__version__};"
            " results of different versions are never compared"
        )
    if why := parts.missing(read_json(run.provenance) or {}):
        raise UserError(f"{run.path}: {why}")
    try:
        return typed(content)
    except (OmegaConfBaseException, UserError, TypeError, ValueError) as error:
        raise UserError(f"{run.config} is not the configuration of a run: {shown(first_line(error))}") from None


def typed(content: Mapping[str, Any]) -> DictConfig:
    """The configuration that plain data say; texts are taken as they are.

    Raises:
        OmegaConfBaseException: for keys and values of another kind; `UserError` for missing ones and for values out
            of range.
    """
    config = merged(OmegaConf.structured(RunConfig), values.literal(content))
    for key in ("curriculum", "agent"):
        if not isinstance(content.get(key), Mapping):
            raise UserError(f"{key} has to be a mapping")
    config.curriculum = merged(curricula.config.load(content["curriculum"].get("name")), config.curriculum)
    if config.algo in baselines.known():
        config.agent = merged(agents.schema(config.algo), config.agent)
    elif config.agent:  # neither a reference nor a policy that other code trained has settings
        raise UserError(f"agent has to be {{}}: {config.algo} is no learner of the suite")
    if config.multi is not None:
        config.multi = merged(OmegaConf.structured(curricula.config.MixConfig), config.multi)
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"{missing[0]} is missing")
    _check(config)
    return config


def read(run: RunDir) -> dict[str, Any] | None:
    """The content of config.yaml as it is, or None where there is no such file.

    Raises:
        UserError: if it cannot be read, and if it is no mapping.
    """
    try:
        content = untrusted.load_yaml(run.config)
    except (OSError, untrusted.Unusable) as error:
        if not os.path.lexists(run.config):
            return None
        raise UserError(f"{run.config} cannot be read: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{run.config} is not the configuration of a run")
    return content


def reduce_envs(config: DictConfig, run: RunDir) -> None:
    """Set the number of envs to what is left of it after the run's failures, see `TrainConfig`."""
    if config.train.min_envs is None:
        return
    for failure in run.read_failures():
        if out_of_memory(failure["reason"]):
            config.train.num_envs = max(config.train.min_envs, config.train.num_envs // 2)
    config.agent.num_envs = config.train.num_envs


def saved_fingerprint(run: RunDir) -> str | None:
    """The fingerprint in the run's config.yaml, or None: reading YAML thousands of times takes too long."""
    try:
        line = untrusted.read_bytes(run.config, untrusted.MAX_BYTES).partition(b"\n")[0].decode()
    except (OSError, ValueError):
        return None
    return line.removeprefix(_FINGERPRINT).strip() if line.startswith(_FINGERPRINT) else None


def fingerprint(content: dict[str, Any]) -> str:
    """SHA-256 of a resolved configuration's identity."""
    return fingerprint_of(settings_hash(content), content["seed"])


def settings_hash(content: dict[str, Any]) -> str:
    """SHA-256 of what the seeds of a setting share."""
    shared = {key: value for key, value in identity(content).items() if key != "seed"}
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()


def fingerprint_of(shared: str, seed: int) -> str:
    """The fingerprint of a seed of a setting, from its `settings_hash`."""
    return hashlib.sha256(f"{shared} seed {seed}".encode()).hexdigest()


def identity(content: dict[str, Any]) -> dict[str, Any]:
    """The part of a resolved configuration that makes the run what it is; a run of one task has no `multi`."""
    return {key: value for key, value in content.items() if key not in LOCAL and (key != "multi" or value)}


def _check(config: DictConfig) -> None:
    trained = config.algo in baselines.known()
    for key, (least, most) in values.BOUNDS.items():
        section, _, name = key.partition(".")
        if trained or key != "train.env_steps":
            check_between(key, config[section][name], least, most)
    values.check_finite(settable(config))
    if config.train.curve and config.train.num_envs < len(GRADES):
        raise UserError(f"train.curve=true needs an env per grade: train.num_envs is {config.train.num_envs}")
    if (config.train.min_envs or 1) > config.train.num_envs:
        raise UserError(f"train.min_envs must be at most train.num_envs, got {config.train.min_envs}")
    one_of("protocol", config.eval.protocol, protocols.EPISODES)
    for key in ("episodes_per_grade", "episodes_per_cell"):
        check_episodes(key, config.eval[key], config.eval.episodes_per_env)
    if config.multi:
        if config.train.curve:
            raise UserError("train.curve=true is for one task: it steps a policy in the env that it is trained in")
        if config.train.num_envs < (count := len(config.multi.tasks.split(SEPARATOR))):
            least = f"an env or more for each of the {count} tasks"
            raise UserError(f"train.num_envs={config.train.num_envs}: expected {least}")
        _told("multi", curricula.config.check_mix, config.multi)
    if config.agent:
        _told("agent", agents.check, config.algo, config.agent)


def _told(section: str, check: Callable[..., None], *arguments: Any) -> None:
    try:
        check(*arguments)
    except ValueError as error:
        raise UserError(f"{section}.{first_line(error)}") from None


def parts_of(spec: TaskSpec) -> tuple[TaskSpec, ...]:
    """The tasks that a run on `spec` is evaluated on: those of a set, or the task itself."""
    return spec.parts if isinstance(spec, MultiTaskSpec) else (spec,)


def check_curriculum(config: DictConfig, spec: TaskSpec, level: str) -> None:
    """Raise `UserError` if the teacher cannot be used on the task, or one of several, at the randomisation level."""
    for part in parts_of(spec):
        _told("curriculum", curricula.config.check, config.curriculum, part, level)


def check_episodes(key: str, episodes: int, per_env: int) -> None:
    """Raise `UserError` unless the episodes of a cell are the first `per_env` of a whole number of envs."""
    if episodes < 1 or episodes % per_env:
        raise UserError(f"{key} must be a positive multiple of {per_env} (those per env), got {episodes}")
