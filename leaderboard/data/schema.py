"""The JSON and YAML files of a run directory and of a bundle: these models say what each field may be.

They are strict: 2.0 is not 2, true is not 1, a field that is not listed is refused. Texts, lists and numbers have
limits, since a page shows them. What one file says of another is for `leaderboard.submissions.checks`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

import suite
from suite.protocol import EPISODES, VERSION
from suite.untrusted import Unusable, load_json, load_yaml

SCHEMA = 1
FORMAT = 1  # of a bundle
GRADES = ("g1", "g2", "g3", "g4", "g5")
DIVISIONS = ("closed", "open")
TEXTS = {"title": 120, "submitter": 64, "contact": 120, "description": 2000}  # name and longest length
LINKS = ("code", "paper")  # that a bundle may name
MAX_JSON_BYTES = 2**18
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_YAML_BYTES = 2**17
MAX_SETTINGS = 8000  # characters of all overrides, as JSON: every page of an entry repeats them
MAX_RETURN = 3.5e38  # about what a float32 holds
YEARS = (2020, 2099)

NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")


def _time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a time, ISO 8601") from None
    if time.tzinfo is None or not YEARS[0] <= time.year <= YEARS[1]:
        raise ValueError(f"expected a UTC time from {YEARS[0]} to {YEARS[1]}")
    return text


def _setting(value: Any) -> Any:
    """A value of a setting: what `key=value` on a command line can give, but for mappings, which are flattened."""
    items = value if isinstance(value, list) else [value]
    if len(items) > 64 or any(isinstance(item, list | dict) for item in items):
        raise ValueError("expected a number, a text, true, false, null, or a list of at most 64 of them")
    if any(isinstance(item, str) and len(item) > 1000 for item in items):
        raise ValueError("a text has more than 1000 characters")
    return value


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(values)) > MAX_SETTINGS:
        raise ValueError(f"expected at most {MAX_SETTINGS} characters in all")
    for name in ("train.init", "multi.tasks"):  # they are names, not values for the command line
        if not isinstance(values.get(name, ""), str):
            raise ValueError(f"{name} has to be a text")
    return values


def _text(longest: int) -> Any:
    return Annotated[str, Field(max_length=longest)]


Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, Field(max_length=40), AfterValidator(_time)]
Short, Line, Command = _text(64), _text(200), _text(10_000)
Link = Annotated[str, Field(pattern=r"^(https://[A-Za-z0-9][!#-;=?-~]{1,300})?$")]
Index = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Episodes = Annotated[int, Field(ge=1, le=10**7)]
Number = Annotated[float, Field(ge=-MAX_RETURN, le=MAX_RETURN)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Seconds = Annotated[float, Field(ge=0, lt=1e10)]
Share = Annotated[float, Field(ge=0, le=1)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
Setting = Annotated[Any, AfterValidator(_setting)]


class Model(BaseModel):
    """An object whose fields are all listed, and of just that type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ByGrade[T](Model):
    """A value for each grade."""

    g1: T
    g2: T
    g3: T
    g4: T
    g5: T


class Protocol(Model):
    """Which protocol an evaluation followed, see `suite.protocol.identity`."""

    name: Name
    version: Index
    sha256: Sha256


class Cell(Model):
    """Outcome of a cell other than the nominal ones."""

    success: Share
    episodes: Episodes


class Git(Model):
    """The commit of the code, and whether files differed from it."""

    commit: Short
    dirty: bool


class Provenance(Model):
    """Where a result comes from, see `suite.runs.provenance`; also the content of provenance.json."""

    ended: Time
    started: Time | None = None
    suite_version: Short | None = None
    command: Command | None = None
    packages: Annotated[dict[Short, Short], Field(max_length=100)] | None = None
    git: Git | None = None
    python: Short | None = None
    os: Line | None = None
    kernel: Line | None = None
    cpu: Line | None = None
    cpu_features: Short | None = None
    cores: Annotated[int, Field(ge=0, le=10**6)] | None = None
    gpus: Annotated[list[Line], Field(max_length=64)] | None = None
    nvidia_driver: Short | None = None
    environment: Annotated[dict[Short, _text(1000)], Field(max_length=32)] | None = None
    assets: Annotated[dict[Line, Line], Field(max_length=64)] | None = None


class Outcome(Model):
    """What result.json and evaluation.json have in common: evaluated episodes on one engine."""

    schema_: Annotated[int, Field(alias="schema", ge=SCHEMA, le=SCHEMA)]  # a Literal takes 1.0 and true for 1
    suite_version: Short
    task: Name
    algo: Name
    seed: Index
    engine: Name
    success: ByGrade[Share]
    episodes: ByGrade[Episodes]
    evaluation_time_s: Seconds
    command: Command
    policy_sha256: Sha256
    episodes_sha256: Sha256
    provenance: Provenance
    returns: Annotated[ByGrade[Number | None] | None, Field(alias="return")] = None
    violations: Annotated[dict[Name, ByGrade[Amount]], Field(max_length=64)] | None = None
    cells: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9_./-]{1,150}$")], Cell], Field(max_length=1000)] = {}
    protocol: Protocol | None = None


class Failure(Model):
    """A try that failed before the one that is complete."""

    ended: Time
    device: Line
    reason: _text(4000)


class Result(Outcome):
    """result.json: a complete run."""

    curriculum: Name
    randomization: Name
    budget: Name
    overrides: Annotated[dict[Key, Setting], Field(max_length=100), AfterValidator(_settings)]
    env_steps: Count
    wall_time_s: Seconds
    device: Line
    energy_j: Amount | None = None
    num_envs: Count | None = None
    failures: Annotated[list[Failure], Field(max_length=1000)] = []
    progress_sha256: Sha256 | None = None
    curriculum_sha256: Sha256 | None = None
    curve_sha256: Sha256 | None = None


class EvaluationSettings(Model):
    """How an evaluation on another engine was made, see `suite.protocol.Protocol`."""

    task: Name
    engine: Name
    device: Short
    protocol: Literal[tuple(EPISODES)]
    episodes_per_grade: Episodes
    episodes_per_cell: Episodes
    episodes_per_env: Episodes
    seed: Index


class Evaluation(Outcome):
    """evaluation.json: the policy of a run, evaluated on another engine."""

    trained_on: Name | None = None
    settings: EvaluationSettings | None = None


class TrainSettings(Model):
    """`train` in config.yaml."""

    num_envs: Count
    min_envs: Count | None = None
    env_steps: Count
    checkpoints: Count | None = None
    curve: bool = False
    init: Line = ""


class EvalSettings(Model):
    """`eval` in config.yaml."""

    protocol: Literal[tuple(EPISODES)]
    episodes_per_grade: Episodes
    episodes_per_cell: Episodes
    episodes_per_env: Episodes
    seed: Index


class Config(Model):
    """config.yaml (`suite.plan.config.RunConfig`); of a policy that other code trained, what the evaluation reads."""

    suite_version: Short
    task: Name
    algo: Name
    seed: Index
    budget: Name
    engine: Name
    eval: EvalSettings
    train: TrainSettings | None = None
    curriculum: Annotated[dict[Key, Setting], Field(max_length=100)] | None = None
    randomization: Name | None = None
    agent: Annotated[dict[Key, Setting], Field(max_length=100)] | None = None
    multi: Annotated[dict[Key, Setting], Field(max_length=100)] | None = None
    physics: Name | None = None
    device: Short | None = None
    wandb: Short | None = None
    command: Command | None = None
    init: _text(4096) | None = None


class File(Model):
    """What a manifest says of a file."""

    sha256: Sha256
    size: Count


class Manifest(Model):
    """manifest.json of a bundle: who, what, and every other file."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    suite_version: Short
    division: Literal[DIVISIONS]
    title: _text(TEXTS["title"])
    submitter: _text(TEXTS["submitter"])
    contact: _text(TEXTS["contact"])
    description: _text(TEXTS["description"])
    code: Link = ""
    paper: Link = ""
    files: Annotated[dict[_text(400), File], Field(min_length=1, max_length=10_000)]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, see `suite.untrusted.load_json`. Raises `Unusable`; `OSError` from the disk."""
    value = load_json(path, MAX_MANIFEST_BYTES if path.name == "manifest.json" else MAX_JSON_BYTES)
    if not isinstance(value, dict):
        raise Unusable(f"{path.name} is not a JSON object")
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, see `suite.untrusted.load_yaml`. Raises `Unusable`; `OSError` from the disk."""
    value = load_yaml(path, MAX_YAML_BYTES)
    if not isinstance(value, dict):
        raise Unusable(f"{path.name} is not a mapping")
    return value


def check_result(result: Mapping[str, Any]) -> None:
    """Raise `Unusable` unless `result` is a result.json of this suite version, with every field in its range."""
    if result.get("schema") != SCHEMA:
        raise Unusable(f"result.json has schema {_short(result.get('schema'))}, this leaderboard reads {SCHEMA}")
    _check_version(result)
    if isinstance(named := result.get("protocol"), dict) and named.get("version") != VERSION:
        version = _short(named.get("version"))
        raise Unusable(f"evaluated by protocol version {version}; this leaderboard is of {VERSION}")
    _check(Result, "result.json", result)


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Raise `Unusable` unless a manifest has every field, in its range. Its texts are for `bundle.check_text`."""
    if manifest.get("format") != FORMAT:
        raise Unusable(f"bundle format {_short(manifest.get('format'))}; this version reads {FORMAT}")
    _check_version(manifest)
    _check(Manifest, "manifest.json", manifest)


def _check_version(content: Mapping[str, Any]) -> None:
    if (version := content.get("suite_version")) != suite.__version__:
        raise Unusable(f"of suite version {_short(version)}; this leaderboard is of {suite.__version__}")


def _check(model: type[Model], file: str, content: Mapping[str, Any]) -> None:
    """Raise `Unusable`, naming the first field of `content` that is none of the model's, or out of range."""
    try:
        model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        *above, name = [ascii(part)[1:-1][:60] if isinstance(part, str) else str(part) for part in first["loc"]] or [""]
        where = " in ".join([f'"{name}"', *(f'"{part}"' for part in reversed(above)), file])
        if first["type"] == "missing":
            inside = "".join(f' in "{part}"' for part in reversed(above))
            raise Unusable(f'{file} has no "{name}"{inside}') from None
        if first["type"] == "extra_forbidden":
            raise Unusable(f"{where} is unknown") from None
        message = " ".join(first["msg"].split())[:200].removeprefix("Value error, ")
        message, should = re.subn(r"^\w+ should ", "has to ", message)
        raise Unusable(f"{where}{'' if should else ':'} {message}") from None


def check_time(text: str, now: datetime | None = None) -> None:
    """Raise `Unusable` for a time that has not come yet; clocks may differ by a day."""
    if (datetime.fromisoformat(text) - (now or datetime.now(UTC))).total_seconds() > 24 * 3600:
        raise Unusable(f"it ended at {text}, which has not come yet")


def _short(value: Any) -> str:
    return ascii(value)[:40]


check_evaluation = partial(_check, Evaluation, "evaluation.json")
check_provenance = partial(_check, Provenance, "provenance.json")
check_config = partial(_check, Config, "config.yaml")
