"""The page of the files: what `docs/files.md` says, from their models alone.

`python -m leaderboard.data.files_page` writes it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from leaderboard.data import schema
from suite.runs import episode_table, schemas
from suite.runs.rundir import FILES

PAGES = (
    (schemas.Result, (schemas.Protocol, schemas.Cell, schemas.Failure)),
    (schemas.MultitaskResult, ()),
    (schemas.Provenance, (schemas.Git,)),
    (schemas.Evaluation, (schemas.EvaluationSettings,)),
    (schemas.Config, (schemas.TrainSettings, schemas.EvalSettings)),
    (schemas.Status, ()),
    (schema.Manifest, (schema.File,)),
)
"""Each file's model, with the models of objects in it."""

HEAD = ("field", "type", "default", "meaning")


def markdown() -> str:
    """The whole page."""
    parts = [
        "# Files\n",
        "Written by `python -m leaderboard.data.files_page` from the models in `suite/runs/schemas.py`,",
        "by which the suite checks what it writes, and the leaderboard what it reads. A field that is not listed is",
        "refused. A field with a default may be missing.\n",
        "## The run directory\n",
        *_table(
            ("file", "content", "written", "its SHA-256 in result.json"),
            ((f"`{f.path}`", f.about, f.written, f"`{f.hashed}`" if f.hashed else "") for f in FILES.values()),
        ),
    ]
    for model, inside in PAGES:
        parts += [f"## {model.__name__}\n", f"{_about(model)}\n"]
        if model is schemas.MultitaskResult:
            parts += ["It has the fields of `Result`, and:\n", *_table(HEAD, _own(model).values())]
        else:
            parts += _fields(model)
        for part in inside:
            parts += [f"`{part.__name__}`: {_about(part)}\n", *_fields(part)]
    parts += [
        "## episodes.parquet\n",
        "A row per evaluated episode. A task adds a column `factor.<name>` (double) for each of its factors, and",
        "`violation.<name>` (int64: steps over it) for each of its safety limits.\n",
        *_table(("column", "type", "meaning"), ((f"`{c.name}`", str(c.type), c.about) for c in episode_table.COLUMNS)),
        "## Types\n",
        "`ByGrade[X]` is an object with an X for each of `g1` to `g5`.\n",
        *_table(("type", "what it may be"), _types()),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _about(model: type[schemas.Model]) -> str:
    """The first sentence of a model's docstring; of a file, `NAME: what it is`."""
    text = (inspect.getdoc(model) or "").partition("\n")[0]
    return text


def _fields(model: type[schemas.Model]) -> list[str]:
    """The table of a model's own fields, after the fields that it shares with others."""
    rows: list[tuple[str, ...]] = []
    for base in reversed(model.__mro__):
        if issubclass(base, schemas.Model) and base is not schemas.Model:
            own = _own(base)
            rows = [*(row for row in rows if row[0] not in own), *own.values()]
    return _table(HEAD, rows)


def _own(model: type[schemas.Model]) -> dict[str, tuple[str, ...]]:
    """Row of each field that the class body of a model declares."""
    source = inspect.getsource(model)
    lines, (body,) = source.splitlines(), ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, tuple[str, ...]] = {}
    for node in body.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        field = model.model_fields.get(node.target.id)
        if field is None:
            continue
        name = f"`{field.alias or node.target.id}`"
        kind = ast.unparse(node.annotation)
        kind = re.sub(r"^Annotated\[(.*?), (Field|AfterValidator)\(.*?\)+\]", r"\1", kind).removesuffix(" | None")
        default = "" if field.is_required() else f"`{json.dumps(field.default)}`"
        meaning = lines[node.end_lineno - 1].partition("  # ")[2] if node.end_lineno else ""
        found[name] = (name, f"`{kind}`", default, meaning)
    return found


def _types() -> Iterable[tuple[str, str]]:
    """Every `type` of the models with the comment behind it."""
    for module in (schemas, schema):
        for name, about in re.findall(r"^type (\w+) = .*?  # (.*)$", inspect.getsource(module), re.M):
            yield f"`{name}`", about


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *cells]]
    return [*lines, ""]


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "files.md").write_text(markdown(), encoding="utf-8")
