"""Episodes from an untrusted file: read within limits, and every row checked against the protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from leaderboard.isolation import environment, limited_memory
from leaderboard.schema import NAME, Unusable
from suite import process
from suite.evaluation import FAILED
from suite.protocol import Protocol, rows
from tasks.spec import TaskSpec

MAX_ROWS = 500_000
MAX_COLUMNS = 200
MAX_BYTES = 512 * 2**20  # of a table, unpacked
MAX_STRING = 64  # characters of a text in a table
MAX_RETURN = 1e9  # of an episode in which nothing failed
CODECS = ("SNAPPY", "UNCOMPRESSED")  # what the suite writes; neither grows far when it is unpacked

PLAIN = (pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
COLUMNS = {
    **dict.fromkeys(("task", "algo", "grade", "cell", "termination", "engine"), pa.types.is_string),
    **dict.fromkeys(("difficulty", "return"), pa.types.is_float64),
    **dict.fromkeys(("seed", "env", "episode", "length"), pa.types.is_int64),
    **dict.fromkeys(("success_once", "success_at_end", "success"), pa.types.is_boolean),
}


def probe(folder: Path) -> None:
    """Read every Parquet file below `folder`, in a process of its own: some damage crashes the library that reads it.

    Raises:
        Unusable: for a file that is damaged or not within the limits.
    """
    done = subprocess.run(
        [sys.executable, "-m", "leaderboard.episodes", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    last = lines[-1] if lines else {}
    if "refused" in last:
        raise Unusable(f"{last['file']}: {last['refused']}")
    if done.returncode:
        raise Unusable(f"{last.get('file', 'a table')} is damaged: it crashes what reads it")


def _probe(folder: Path) -> int:
    with limited_memory():
        for file in sorted(folder.rglob("*.parquet")):
            said = {"file": file.relative_to(folder).as_posix()}
            print(json.dumps(said), flush=True)
            try:
                read_table(file)
            except Unusable as error:
                print(json.dumps(said | {"refused": str(error)}), flush=True)
                return 1
    return 0


def read_table(path: Path) -> pa.Table:
    """A Parquet file of plain columns. Raises `Unusable` for one that is damaged or not within the limits."""
    try:
        with path.open("rb") as file:
            _check_layout(path.name, file)
            table = pq.ParquetFile(file).read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"{path.name} is damaged: not a Parquet file of the suite") from None
    except MemoryError:
        raise Unusable(f"{path.name} needs more memory than a submission may take") from None
    return table


def _check_layout(name: str, file: Any) -> None:
    reader = pq.ParquetFile(file, thrift_string_size_limit=2**20, thrift_container_size_limit=100_000)
    meta, schema = reader.metadata, reader.schema_arrow
    if meta.num_rows > MAX_ROWS or meta.num_columns > MAX_COLUMNS:
        raise Unusable(f"{name} has {meta.num_rows} rows and {meta.num_columns} columns, more than any run")
    if len(set(schema.names)) < len(schema.names):
        raise Unusable(f"{name} has a column twice")
    for field in schema:
        if not any(test(field.type) for test in PLAIN):
            raise Unusable(f"{name} has a column of type {str(field.type)[:40]}")
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    if sum(chunk.total_uncompressed_size for chunk in chunks) > MAX_BYTES:
        raise Unusable(f"{name} unpacks to more than {MAX_BYTES // 2**20} MiB")
    if others := {chunk.compression for chunk in chunks} - set(CODECS):
        raise Unusable(f"{name} is packed with {sorted(others)[0]}; expected {' or '.join(CODECS)}")
    # A short text list may stand for long columns: look at the list before it is repeated for every row.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    for batch in pq.ParquetFile(file, read_dictionary=texts).iter_batches(columns=texts, use_threads=False):
        for column in batch.columns:
            longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
            if longest > MAX_STRING:
                raise Unusable(f"{name} has a text of {longest} bytes, more than {MAX_STRING}")


def read_episodes(path: Path, spec: TaskSpec, protocol: Protocol) -> pa.Table:
    """The episodes in `path`. Raises `Unusable` unless they are those of the protocol, in its order and in range."""
    table = read_table(path)
    columns = COLUMNS | {f"factor.{factor.name}": pa.types.is_float64 for factor in spec.factors}
    columns |= {f"violation.{limit}": pa.types.is_int64 for limit in spec.safety}
    for name, test in columns.items():
        if name not in table.column_names:
            raise Unusable(f'{path.name} has no column "{name}"')
        if not test(table[name].type) or table[name].null_count:
            raise Unusable(f'"{name}" in {path.name} has another type than the suite writes, or empty places')
    if extra := set(table.column_names) - set(columns):
        raise Unusable(f"{path.name} has an unknown column {ascii(sorted(extra)[0])[:60]}")
    values = {name: table[name].to_numpy(zero_copy_only=False) for name in columns}
    _check_order(path.name, values, spec, protocol)
    _check_values(path.name, values, spec, protocol.episodes_per_env)
    return table


def cells_of(table: pa.Table) -> np.ndarray:
    """Name [n] of each episode's cell."""
    return table["cell"].to_numpy(zero_copy_only=False).astype(str)


def _check_order(file: str, values: Mapping[str, np.ndarray], spec: TaskSpec, protocol: Protocol) -> None:
    """Every episode of the protocol once: those that went badly cannot be left out, nor good ones repeated."""
    layout, per_env = rows(spec, protocol), protocol.episodes_per_env
    cells = np.repeat(layout.cell, per_env)
    if len(values["env"]) != len(cells):
        raise Unusable(f"{file} has {len(values['env'])} episodes, the protocol has {len(cells)}")
    row = np.arange(len(cells))
    expected = {
        "env": row // per_env,
        "episode": row % per_env,
        "grade": np.array([cell.grade for cell in layout.cells], dtype=object)[cells],
        "cell": np.array([cell.id for cell in layout.cells], dtype=object)[cells],
        "difficulty": np.repeat(layout.difficulty, per_env),
        "seed": np.full(len(cells), protocol.seed),
    }
    expected |= {
        f"factor.{factor.name}": np.repeat(layout.factors[:, k], per_env) for k, factor in enumerate(spec.factors)
    }
    for name, wanted in expected.items():
        same = values[name] == wanted if wanted.dtype != float else np.isclose(values[name], wanted, 1e-5, 1e-6)
        if len(wrong := (~same).nonzero()[0]):
            raise Unusable(f"{name} in row {wrong[0]} of {file} is not the protocol's")


def _check_values(file: str, values: Mapping[str, np.ndarray], spec: TaskSpec, per_env: int) -> None:
    termination = values["termination"]
    for text in set(termination):
        if not NAME.fullmatch(text):
            raise Unusable(f"{file} has the termination {ascii(text)[:60]}, which is no name")
    failed, crashed = np.isin(termination, FAILED), termination == "crashed"
    lost = crashed | ((termination == "cut") & (values["length"] == 0))
    known = np.isfinite(values["return"])
    large = np.abs(np.where(known, values["return"], 0.0)) > MAX_RETURN
    longest = np.where(termination == "cut", per_env * spec.max_episode_steps + 1, spec.max_episode_steps)
    decides = values["success_at_end" if spec.success_when == "end" else "success_once"]
    rules = {
        **{
            f"more steps over {limit} than it is long": (values[f"violation.{limit}"] >= 0)
            & (values[f"violation.{limit}"] <= values["length"])
            for limit in spec.safety
        },
        "a return that is not finite": known | lost,
        f"a return beyond {MAX_RETURN:g}": ~large | failed,
        "a length that no episode has": (values["length"] >= np.where(lost, 0, 1)) & (values["length"] <= longest),
        "a success that does not follow from the others": values["success"] == decides,
        "success at the end, but not once": ~values["success_at_end"] | values["success_once"],
        "a success in an episode that counts as failed": ~failed | ~(values["success_once"] | values["success_at_end"]),
    }
    for what, holds in rules.items():
        if len(wrong := (~holds).nonzero()[0]):
            raise Unusable(f"row {wrong[0]} of {file} has {what}")


if __name__ == "__main__":
    process.follow_parent()
    sys.exit(_probe(Path(sys.argv[1])))
