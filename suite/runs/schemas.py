"""The JSON and YAML files of a run as models: what each field is, and what it may be.

The suite checks what it writes and what it reads by them, and so does the leaderboard. They are strict: 2.0 is not 2,
true is not 1, a field that is not listed is refused. Texts, lists and numbers have limits, since a page shows them.
What one file says of another is for `leaderboard.submissions.checks`. `docs/files.md` is written from this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from suite.protocol import ProtocolName

SCHEMA = 1
"""Of result.json and evaluation.json. Another number: the fields are others."""

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


# The types of fields. Their names stand in docs/files.md.
type Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]  # small letters, digits and _.+-, at most 64
type Names = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]{0,1023}$")]  # names with + between them
type Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # 64 hex digits
type Time = Annotated[str, Field(max_length=40), AfterValidator(_time)]  # UTC, ISO 8601
type Short = Annotated[str, Field(max_length=64)]  # a text of at most 64 characters
type Line = Annotated[str, Field(max_length=200)]  # a text of at most 200 characters
type Text = Annotated[str, Field(max_length=1000)]  # a text of at most 1000 characters
type Reason = Annotated[str, Field(max_length=4000)]  # a text of at most 4000 characters
type Place = Annotated[str, Field(max_length=4096)]  # a path of at most 4096 characters
type Command = Annotated[str, Field(max_length=10_000)]  # a command line of at most 10,000 characters
type Index = Annotated[int, Field(ge=0, lt=2**63)]  # an integer from 0
type Count = Annotated[int, Field(ge=0, le=10**15)]  # an integer from 0 to 10^15
type Cores = Annotated[int, Field(ge=0, le=10**6)]  # an integer from 0 to 10^6
type Episodes = Annotated[int, Field(ge=1, le=10**7)]  # an integer from 1 to 10^7
type Number = Annotated[float, Field(ge=-MAX_RETURN, le=MAX_RETURN)]  # a number that a float32 holds
type Amount = Annotated[float, Field(ge=0, le=1e15)]  # a number from 0 to 10^15
type Seconds = Annotated[float, Field(ge=0, lt=1e10)]  # a number from 0, below 10^10
type Share = Annotated[float, Field(ge=0, le=1)]  # a number from 0 to 1
type Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]  # letters, digits and _.-, at most 100
type Cells = Annotated[str, Field(pattern=r"^[a-z0-9_./-]{1,150}$")]  # what `suite.protocol` calls a cell
type Setting = Annotated[Any, AfterValidator(_setting)]  # a number, text, true, false, null, or a list of these
type Settings = Annotated[dict[Key, Setting], Field(max_length=100)]  # dotted or plain keys and their values


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

    name: Name  # of the protocol
    version: Index  # of the code that makes the cells
    sha256: Sha256  # of cells, episodes, seeds and factors


class Cell(Model):
    """Outcome of a cell other than the nominal ones."""

    success: Share  # of its episodes
    episodes: Episodes  # how many


class Git(Model):
    """The commit of the code, and whether files differed from it."""

    commit: Short  # SHA-1
    dirty: bool  # whether files differed


class Part(Model):
    """A part of a run that another package than Gradus brought."""

    kind: Literal["task", "effect", "algorithm", "curriculum", "engine"]  # what it is
    name: Name  # its name
    distribution: Short  # the package
    version: Short  # of the package


class Origin(Model):
    """What is known of a run's origin when it starts."""

    started: Time | None = None  # when its first try began
    suite_version: Short | None = None  # of the code
    command: Command | None = None  # that started the run
    packages: Annotated[dict[Short, Short], Field(max_length=100)] | None = None  # versions that can change a number
    git: Git | None = None  # null where the code is not in a git checkout
    python: Short | None = None  # its version
    os: Line | None = None  # its name
    kernel: Line | None = None  # its version
    cpu: Line | None = None  # its model
    cpu_features: Short | None = None  # vector instructions that can change a number
    cores: Cores | None = None  # that the run could use
    gpus: Annotated[list[Line], Field(max_length=64)] | None = None  # their models
    nvidia_driver: Short | None = None  # its version
    environment: Annotated[dict[Short, Text], Field(max_length=32)] | None = None  # variables that can change a number
    assets: Annotated[dict[Line, Line], Field(max_length=64)] | None = None  # hashes of the robots' files
    parts: Annotated[list[Part], Field(max_length=64)] | None = None  # those that other packages brought, if any


class Started(Origin):
    """provenance.json while the run goes on."""

    ended: None  # it has not


class Provenance(Origin):
    """Where a result comes from; the content of provenance.json, and `provenance` in result.json."""

    ended: Time  # when the run ended


class Outcome(Model):
    """What result.json and evaluation.json have in common: evaluated episodes on one engine."""

    schema_: Annotated[int, Field(alias="schema", ge=SCHEMA, le=SCHEMA)]  # number of this format
    suite_version: Short  # results of different versions are never compared
    task: Name  # its name
    algo: Name  # the algorithm, or the reference policy
    seed: Index  # of the training
    engine: Name  # that the episodes were evaluated on
    success: ByGrade[Share]  # share of the nominal episodes
    episodes: ByGrade[Episodes]  # nominal ones
    evaluation_time_s: Seconds  # [s] wall time
    command: Command  # that made it
    policy_sha256: Sha256  # of policy.safetensors
    episodes_sha256: Sha256  # of episodes.parquet
    provenance: Provenance  # packages, commit, hardware, assets
    returns: Annotated[ByGrade[Number | None] | None, Field(alias="return")] = None  # mean of the nominal episodes
    violations: Annotated[dict[Name, ByGrade[Amount]], Field(max_length=64)] | None = None  # mean steps over each limit
    cells: Annotated[dict[Cells, Cell], Field(max_length=1000)] = {}  # those that are not nominal
    protocol: Protocol | None = None  # that was followed


class Failure(Model):
    """A try that failed before the one that is complete."""

    ended: Time  # when
    device: Line  # on which device
    reason: Reason  # in one line


class Result(Outcome):
    """result.json: a complete run."""

    curriculum: Name  # the teacher
    randomization: Name  # the level, `r0` to `r3`
    budget: Name  # `smoke`, `quick` or `full`
    overrides: Annotated[Settings, AfterValidator(_settings)]  # settings other than the defaults, and their values
    env_steps: Count  # of the training
    wall_time_s: Seconds  # [s] of the training
    device: Line  # the model of the CPU or GPU
    energy_j: Amount | None = None  # [J] of the GPU while it trained
    num_envs: Count | None = None  # rows of the env batch
    failures: Annotated[list[Failure], Field(max_length=1000)] = []  # tries that failed before
    progress_sha256: Sha256 | None = None  # of progress.parquet
    curriculum_sha256: Sha256 | None = None  # of curriculum.parquet
    curve_sha256: Sha256 | None = None  # of curve.parquet


class MultitaskResult(Result):
    """result.json of a policy for several tasks; `tasks/` has the result of each of them."""

    task: Names  # names of the tasks, with `+` between them
    tasks: dict[Name, ByGrade[Share]]  # success by task


class EvaluationSettings(Model):
    """How an evaluation on another engine was made, see `suite.protocol.Protocol`."""

    task: Name  # its name
    engine: Name  # that stepped the physics
    device: Short  # `cpu` or `cuda:K`
    protocol: ProtocolName  # which cells
    episodes_per_grade: Episodes  # of each nominal cell
    episodes_per_cell: Episodes  # of each other cell
    episodes_per_env: Episodes  # the first of each env count
    seed: Index  # where the draws start


class Evaluation(Outcome):
    """evaluations/ENGINE/evaluation.json: the policy of a run, evaluated on another engine."""

    trained_on: Name | None = None  # engine of the training
    settings: EvaluationSettings | None = None  # how it was made


class TrainSettings(Model):
    """`train` in config.yaml."""

    num_envs: Count  # rows of the env batch
    min_envs: Count | None = None  # down to which a run that is out of GPU memory is tried again
    env_steps: Count  # of the training
    checkpoints: Count | None = None  # how many; null: by the budget
    curve: bool = False  # whether each checkpoint is evaluated on every grade
    init: Line = ""  # SHA-256 of the policy that the training starts from, or empty


class EvalSettings(Model):
    """`eval` in config.yaml."""

    protocol: ProtocolName  # which cells
    episodes_per_grade: Episodes  # of each nominal cell
    episodes_per_cell: Episodes  # of each other cell
    episodes_per_env: Episodes  # the first of each env count
    seed: Index  # where the draws start


class Config(Model):
    """config.yaml (`suite.plan.config.RunConfig`); of a policy that other code trained, what the evaluation reads."""

    suite_version: Short  # of the code that wrote it
    task: Name  # its name
    algo: Name  # the algorithm, or the reference policy
    seed: Index  # of the training
    budget: Name  # `smoke`, `quick` or `full`
    engine: Name  # that steps the physics
    eval: EvalSettings  # the evaluation
    train: TrainSettings | None = None  # the training
    curriculum: Settings | None = None  # the teacher and its settings
    randomization: Name | None = None  # the level, `r0` to `r3`
    agent: Settings | None = None  # settings of the algorithm
    multi: Settings | None = None  # of a training on several tasks
    physics: Name | None = None  # what `--physics` said
    device: Short | None = None  # `cpu` or `cuda:K`
    wandb: Short | None = None  # what `--wandb` said
    command: Command | None = None  # that started the run
    init: Place | None = None  # the run whose policy `train.init` names


class Status(Model):
    """status.json: what the run is doing now."""

    state: Short  # queued, starting, training, evaluating, complete, failed or stopped
    message: str = ""  # why, or what takes long
    env_steps: Count = 0  # done
    total_env_steps: Count = 0  # of the training
    steps_per_s: Amount | None = None  # env steps a second
    return_mean: Number | None = None  # of the last episodes
    success_mean: Number | None = None  # of the last episodes
    eta_s: Number | None = None  # [s] until the training ends
    updated: str = ""  # when this was written


def problem(model: type[Model], file: str, content: Mapping[str, Any]) -> str:
    """What is wrong with the content of a file, in one line that names the first such field; '' where nothing is."""
    try:
        model.model_validate(content)
    except ValidationError as error:
        return _told(error, file)
    return ""


def _told(error: ValidationError, file: str) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    *above, name = [ascii(part)[1:-1][:60] if isinstance(part, str) else str(part) for part in first["loc"]] or [""]
    where = " in ".join([f'"{name}"', *(f'"{part}"' for part in reversed(above)), file])
    if first["type"] == "missing":
        inside = "".join(f' in "{part}"' for part in reversed(above))
        return f'{file} has no "{name}"{inside}'
    if first["type"] == "extra_forbidden":
        return f"{where} is unknown"
    message = " ".join(first["msg"].split())[:200].removeprefix("Value error, ")
    message, should = re.subn(r"^\w+ should ", "has to ", message)
    return f"{where}{'' if should else ':'} {message}"


def required(model: type[Model]) -> tuple[str, ...]:
    """Keys that a file of this model always has."""
    return tuple(field.alias or name for name, field in model.model_fields.items() if field.is_required())


def fault(result: Mapping[str, Any]) -> str:
    """What is wrong with the content of a result.json, in one line; '' where nothing is."""
    model = MultitaskResult if "tasks" in result else Result
    if missing := [key for key in required(model) if key not in result]:
        return f'it has no "{missing[0]}"'
    return problem(model, "result.json", result)


def fits(model: type[Model], key: str, value: Any) -> bool:
    """Whether `value` is one that the field `key` of a model may have."""
    return key in model.model_fields and _adapter(model, key)(value)


@cache
def _adapter(model: type[Model], key: str) -> Callable[[Any], bool]:
    field = model.model_fields[key]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    adapter = TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))

    def check(value: Any) -> bool:
        try:
            adapter.validate_python(value)
        except ValidationError:
            return False
        return True

    return check
