"""Parquet files that a run's JSON names by their hash: hashed before Arrow sees them, since some damage crashes it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from suite.runs.schemas import MAX_RETURN
from suite.untrusted import Unusable, read_bytes

MAX_BYTES = 256 * 2**20


def read(
    path: Path, record: Mapping[str, Any], key: str, columns: tuple[str, ...], prefixes: tuple[str, ...] = ()
) -> pa.Table:
    """The `columns` of a file, which have to be there, and those that start with one of `prefixes`.

    `record[key]` is the file's SHA-256. Raises `Unusable` for another file, and for what is no table of that kind;
    `OSError` from the disk.
    """
    data = read_bytes(path, MAX_BYTES)
    if record.get(key) != hashlib.sha256(data).hexdigest():
        raise Unusable(f"{path.name} is damaged, or not the run's: {key} is the hash of another file")
    try:
        reader = pq.ParquetFile(pa.BufferReader(data))
        names = reader.schema_arrow.names
        wanted = [name for name in names if name in columns or name.startswith(prefixes)]
        if missing := set(columns) - set(names):
            raise Unusable(f'{path.name} has no column "{sorted(missing)[0]}"')
        if len(set(wanted)) < len(wanted):
            raise Unusable(f"{path.name} has a column twice")
        table = reader.read(columns=wanted, use_threads=False)
        table.validate(full=True)  # invalid UTF-8
        return table
    except Unusable:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, NotImplementedError, MemoryError):
        raise Unusable(f"{path.name} is damaged: not a parquet file") from None


def texts(path: Path, table: pa.Table, column: str) -> tuple[list[str], np.ndarray]:
    """The different texts of a column, and for each row [n] which of them it has. Raises `Unusable`."""
    values = table[column]
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)) or values.null_count:
        raise Unusable(f'"{column}" in {path.name} has to have a text in every row')
    values = values.dictionary_encode().combine_chunks()
    return values.dictionary.to_pylist(), values.indices.to_numpy()


def floats(path: Path, table: pa.Table, column: str) -> np.ndarray:
    """A column of numbers, [n], NaN where there is none. Raises `Unusable`, also for one beyond float32."""
    kind = table[column].type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise Unusable(f'"{column}" in {path.name} has to have numbers')
    values = table[column].to_numpy(zero_copy_only=False).astype(float)
    if (np.abs(values[np.isfinite(values)]) > MAX_RETURN).any():  # sums of such numbers overflow
        raise Unusable(f'"{column}" in {path.name} has a number beyond {MAX_RETURN:g}')
    return values
