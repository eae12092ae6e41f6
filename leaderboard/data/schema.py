"""The JSON and YAML files of runs and bundles as the leaderboard reads them: by models, within limits.

`suite.runs.schemas` has the models of a run's files; that of a bundle's manifest is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

import suite
from suite.protocol import VERSION
from suite.runs.schemas import SCHEMA, Config, Count, Evaluation, Model, Provenance, Result, Sha256, Short, problem
from suite.untrusted import Unusable, load_json, load_yaml

FORMAT = 1  # of a bundle
Division = Literal["closed", "open"]
DIVISIONS = get_args(Division)
TEXTS = {"title": 120, "submitter": 64, "contact": 120, "description": 2000}  # name and longest length
LINKS = ("code", "paper")  # that a bundle may name
MAX_JSON_BYTES = 2**18
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_YAML_BYTES = 2**17

type Link = Annotated[str, Field(pattern=r"^(https://[A-Za-z0-9][!#-;=?-~]{1,300})?$")]  # https, or empty
type Title = Annotated[str, Field(max_length=TEXTS["title"])]  # a text of at most 120 characters
type Submitter = Annotated[str, Field(max_length=TEXTS["submitter"])]  # a text of at most 64 characters
type Contact = Annotated[str, Field(max_length=TEXTS["contact"])]  # a text of at most 120 characters
type Description = Annotated[str, Field(max_length=TEXTS["description"])]  # a text of at most 2000 characters
type FileName = Annotated[str, Field(max_length=400)]  # a path of at most 400 characters


class File(Model):
    """What a manifest says of a file."""

    sha256: Sha256  # of its content
    size: Count  # bytes


class Manifest(Model):
    """manifest.json of a bundle: who, what, and every other file."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]  # number of this format
    suite_version: Short  # of the code that wrote the bundle
    division: Division  # `closed` or `open`
    title: Title  # of the submission
    submitter: Submitter  # who is named on the page
    contact: Contact  # not shown
    description: Description  # may be empty
    code: Link = ""  # where the code is
    paper: Link = ""  # where the paper is
    files: Annotated[dict[FileName, File], Field(min_length=1, max_length=10_000)]  # all others, by path


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
    if wrong := problem(model, file, content):
        raise Unusable(wrong)


def check_time(text: str, now: datetime | None = None) -> None:
    """Raise `Unusable` for a time in the future; clocks may differ by a day."""
    if (datetime.fromisoformat(text) - (now or datetime.now(UTC))).total_seconds() > 24 * 3600:
        raise Unusable(f"it ended at {text}, which has not come yet")


def _short(value: Any) -> str:
    return ascii(value)[:40]


check_evaluation = partial(_check, Evaluation, "evaluation.json")
check_provenance = partial(_check, Provenance, "provenance.json")
check_config = partial(_check, Config, "config.yaml")
