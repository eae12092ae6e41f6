"""The job matrix: tasks × algorithms × curricula × levels × engines × seeds as a list of runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import baselines
import curricula
import suite
import tasks
from baselines.algorithms.registry import get as algorithm
from baselines.learner import warm_start
from suite.errors import UserError, first_line, shown, unknown
from suite.plan import config as configs
from suite.plan import values
from suite.runs.rundir import RunDir, sha256
from tasks.core import engines
from tasks.core.settings import as_dict, merged
from tasks.multitask.declare import MultiTaskSpec
from tasks.spec import RANDOMIZATION_LEVELS, TaskSpec

MOST_RUNS = 100_000  # of one command
_OF_TEACHER = "curriculum."  # how overrides of a teacher's settings begin


@dataclass(frozen=True)
class Request:
    """What the user asked for, every name checked. `algos_named` is False where `all` stood for them."""

    tasks: tuple[str, ...]
    algos: tuple[str, ...]
    algos_named: bool
    curricula: tuple[str, ...]
    levels: tuple[str, ...]
    physics: tuple[str, ...]
    seeds: int
    budget: str
    overrides: tuple[str, ...]
    out: Path
    wandb: str
    command: str
    init: Path | None = None  # a run whose policy the trainings start from


@dataclass(frozen=True)
class Job:
    """One run of the matrix. `setting`, its resolved configuration without seed and device, is shared by its seeds."""

    setting: dict[str, Any]
    overrides: dict[str, Any]
    seed: int
    run: RunDir
    damage: str = ""  # why what lies in the run directory cannot be read, in one line

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.setting["task"]

    @property
    def algo(self) -> str:
        """Name of the algorithm."""
        return self.setting["algo"]

    @property
    def env_steps(self) -> int:
        """Env steps of the training; 0 for a reference policy."""
        return self.setting["train"]["env_steps"]

    @property
    def variant(self) -> str:
        """Curriculum, level, engine, budget and overrides, as the run directory has them."""
        return self.run.path.parent.name

    @cached_property
    def complete(self) -> bool:
        """True if the run had been finished when this was first asked."""
        return self.run.read_result() is not None

    def config(self, device: str) -> DictConfig:
        """The whole configuration of the run on `device`."""
        return merged(OmegaConf.structured(configs.RunConfig), values.literal(self.content(device)))

    def content(self, device: str) -> dict[str, Any]:
        """The same as plain dicts and lists."""
        return self.setting | {"seed": self.seed, "device": device}


def plan(request: Request) -> list[Job]:
    """The runs, one seed of everything before the next seed.

    Raises:
        UserError: for an override that nothing has, an engine that is missing, an algorithm, level or teacher that a
            task cannot use, a policy to start from that does not fit, or a run directory that holds another run.
    """
    init = "" if request.init is None else initial_policy(request.init)
    teachers = _compose_teachers(request)
    agents = _compose_agents(request, teachers)
    _check_unused(request, agents, teachers)
    return _jobs(list(_settings(request, agents, teachers, init)), request)


@dataclass(frozen=True)
class _Part:
    """A configuration with overrides: typed and plain, what they changed, and which of them found no key."""

    config: DictConfig
    content: dict[str, Any]
    changes: dict[str, Any]
    unused: set[str]


@dataclass(frozen=True)
class _Agent:
    """An algorithm on a task; `engines` are the concrete ones by what was asked for."""

    spec: TaskSpec
    algo: str
    trained: bool
    engines: Mapping[str, str]
    part: _Part


_Teachers = dict[tuple[str, bool], _Part]
"""Curricula by name and by whether the agent is trained: overrides change nothing for an agent that is not."""


def _compose(default: DictConfig, items: Sequence[str]) -> _Part:
    if not items:
        return _Part(default, as_dict(default), {}, set())
    config, unused = configs.override(default, items)
    return _Part(config, as_dict(config), configs.changes(default, config), unused)


def _compose_teachers(request: Request) -> _Teachers:
    """Compose the curricula apart from the agents: a configuration for each pair would take too long."""
    items = [item for item in request.overrides if item.startswith(_OF_TEACHER)]
    keys = {item.partition("=")[0] for item in items}
    some = tasks.get(request.tasks[0]), baselines.names()[0], request.budget  # a teacher's settings depend on none
    found: _Teachers = {}
    for name in request.curricula:
        found[name, True] = part = _compose(configs.defaults(*some, name), items)
        found[name, False] = replace(_compose(configs.defaults(*some, name), []), unused=keys) if items else part
    return found


def _compose_agents(request: Request, teachers: _Teachers) -> list[_Agent]:
    """Compose every algorithm on every task, and check each with the engines, levels, teachers and initial policy."""
    items = [item for item in request.overrides if not item.startswith(_OF_TEACHER)]
    found: list[_Agent] = []
    for name in request.tasks:
        spec = tasks.get(name)
        engine_of = {physics: concrete_engine(physics, spec) for physics in request.physics}
        for level, curriculum in itertools.product(request.levels, request.curricula):
            check_level(spec, level)
            configs.check_curriculum(teachers[curriculum, True].config, spec, level)
        for algo in request.algos:
            if not _can_act(algo, spec):
                if request.algos_named:
                    raise UserError(_why_not(spec, algo))
                continue
            agent = _Agent(
                spec,
                algo,
                trained=algo not in baselines.reference_names(),
                engines=engine_of,
                part=_compose(configs.defaults(spec, algo, request.budget), items),
            )
            if agent.trained:
                if request.init is not None:
                    _check_init(request.init, spec, algo, agent.part.config)
                for curriculum in request.curricula:
                    _check_advantage(algo, teachers[curriculum, True].config)
            found.append(agent)
    return found


def _check_unused(request: Request, agents: Sequence[_Agent], teachers: _Teachers) -> None:
    """Raise `UserError` for an override that changes no run of the request."""
    unused = {item.partition("=")[0] for item in request.overrides}
    for agent, curriculum in itertools.product(agents, request.curricula):
        unused &= agent.part.unused | teachers[curriculum, agent.trained].unused
    if unused:
        parts = [agent.part for agent in agents]
        if any(agent.trained for agent in agents):
            parts += [teachers[curriculum, True] for curriculum in request.curricula]
        known = sorted({key for part in parts for key in configs.settable(part.config)})
        raise unknown("config key", sorted(unused)[0], known, list_all=False)


def _settings(
    request: Request, agents: Sequence[_Agent], teachers: _Teachers, init: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Settings of the runs, and what in them was changed. `init` is the hash of the initial policy, or ''."""
    for agent, curriculum in itertools.product(agents, request.curricula):
        teacher = teachers[curriculum, agent.trained]
        base = agent.part.content | {"curriculum": teacher.content["curriculum"]}
        changes = agent.part.changes | teacher.changes
        if agent.trained and init:
            base |= {"init": str(request.init), "train": base["train"] | {"init": init}}
            changes |= {"train.init": init}
        for physics, level in itertools.product(request.physics, request.levels):
            where = {
                "physics": physics,
                "engine": agent.engines[physics],
                "randomization": level,
                "wandb": request.wandb,
                "command": request.command,
            }
            yield base | where, changes


def algorithms(spec: TaskSpec) -> list[str]:
    """Names of the algorithms and reference policies that can act in a task."""
    return [name for name in (*baselines.known(), *baselines.reference_names()) if _can_act(name, spec)]


def _can_act(algo: str, spec: TaskSpec) -> bool:
    if algo in baselines.reference_names():
        return not isinstance(spec, MultiTaskSpec)
    return bool(spec.discrete_actions) or not algorithm(algo).discrete


def _why_not(spec: TaskSpec, algo: str) -> str:
    if algo in baselines.reference_names():
        return f"{algo} is not trained, so it needs no set of tasks ({spec.name}); name them by comma"
    return f"task {spec.name} declares no discrete actions, which {algo} needs"


def levels(spec: TaskSpec) -> list[str]:
    """Randomisation levels at which something in the task, or in one of several, moves, and r0."""
    moved = {level for part in configs.parts_of(spec) for factor in part.factors for level in factor.ranges}
    return [level for level in RANDOMIZATION_LEVELS if level == "r0" or level in moved]


def initial_policy(init: Path) -> str:
    """SHA-256 of the policy of the run `init`. Raises `UserError` unless the run is complete and the policy is its."""
    run = RunDir(init)
    if (result := run.read_result()) is None:
        raise UserError(f"--init {init} is no complete run (no valid result.json); name a run directory: .../seedK")
    try:
        digest = sha256(run.policy)
    except OSError as error:
        raise UserError(f"--init {init}: {run.policy} cannot be read: {error.strerror}") from None
    if digest != result["policy_sha256"]:
        raise UserError(f"--init {init}: {run.policy} is not the policy that result.json names by policy_sha256")
    return digest


def _check_init(init: Path, spec: TaskSpec, algo: str, config: DictConfig) -> None:
    try:
        warm_start.check(RunDir(init).policy, spec, algo, config.agent)
    except warm_start.WarmStartError as error:
        raise UserError(f"--init {init}: {first_line(error)}") from None


def _check_advantage(algo: str, teacher: DictConfig) -> None:
    name = teacher.curriculum.name
    if curricula.get(name).schema.needs_advantage(teacher.curriculum) and not algorithm(algo).on_policy:
        raise UserError(
            f"curriculum {name} learns from advantages, which {algo} does not compute; use an on-policy algorithm"
        )


def check_level(spec: TaskSpec, level: str) -> None:
    """Raise `UserError` if nothing in the task moves at a randomisation level."""
    if level not in levels(spec):
        raise UserError(f"task {spec.name} randomises nothing at level {level}; use {' or '.join(levels(spec))}")


def concrete_engine(physics: str, spec: TaskSpec) -> str:
    """The engine that steps a task where `physics` was asked for. Raises `UserError` if it is not installed."""
    try:
        return engines.check(physics, spec)
    except engines.EngineError as error:
        raise UserError(first_line(error)) from None


def _jobs(settings: Sequence[tuple[dict[str, Any], dict[str, Any]]], request: Request) -> list[Job]:
    if len(settings) * request.seeds > MOST_RUNS:
        raise UserError(f"--seeds {request.seeds}: these are more than {MOST_RUNS} runs; use several commands")
    folders = [folder(setting, overrides, request.out) for setting, overrides in settings]
    shared = [configs.settings_hash(setting) for setting, _ in settings]
    jobs = []
    for seed in range(request.seeds):
        for (setting, overrides), parent, digest in zip(settings, folders, shared, strict=True):
            job = Job(setting, overrides, seed, RunDir(parent / f"seed{seed}"))
            if configs.saved_fingerprint(job.run) != configs.fingerprint_of(digest, seed):
                job = replace(job, damage=_check_same(job))
            jobs.append(job)
    return jobs


def folder(setting: Mapping[str, Any], overrides: Mapping[str, Any], out: Path) -> Path:
    """Where the runs of a setting go, a folder per seed; `overrides` as `config.changes` has them."""
    variant = "-".join(
        [setting["curriculum"]["name"], *(setting[key] for key in ("randomization", "engine", "budget"))]
    )
    if overrides:
        variant += f"-{configs.digest(overrides)}"
    return out / suite.__version__ / setting["task"] / setting["algo"] / variant


def _check_same(job: Job) -> str:
    """Refuse a directory whose configuration is another than the one planned: the defaults were edited, say.

    Returns why its configuration cannot be read; '' if it can, or there is none.
    """
    try:
        found = configs.read(job.run)
    except UserError as error:
        return f"{first_line(error)}; remove it, or the folder"
    if found is None:
        return ""
    if found.get("suite_version") != suite.__version__:
        version = shown(found.get("suite_version"))
        raise UserError(f"{job.run.path} is of suite version {version}, this is {suite.__version__}")
    found, planned = configs.identity(found), configs.identity(job.content("any"))
    if found != planned:
        keys = [key for key in planned if planned[key] != found.get(key)] or sorted(set(found) - set(planned))
        raise UserError(
            f"{job.run.path} holds a run with other settings ({shown(', '.join(keys))}); use another --out or remove it"
        )
    return ""


def names_of(kind: str, text: str, valid: Sequence[str], every: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names in a comma-separated list, without repetitions; `all` stands for `every`. Raises `UserError`."""
    names = [name.strip() for name in text.split(",")]
    if every is not None and names == ["all"]:
        return tuple(every)
    for name in names:
        if name not in valid:
            raise unknown(kind, name, valid if every is None else [*valid, "all"])
    return tuple(dict.fromkeys(names))
