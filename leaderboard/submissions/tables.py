"""Parquet files of strangers: read within limits, and first of all in a process of their own."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from leaderboard.submissions.isolation import environment, limited_memory
from suite.execute import process
from suite.untrusted import Unusable, read_bytes

MAX_FILE = 64 * 2**20
MAX_ROWS = 500_000
MAX_COLUMNS = 200
MAX_ROW_GROUPS = 1000
MAX_BYTES = 512 * 2**20  # of a table, unpacked
MAX_CPU_S = 600  # of reading all tables of a bundle
MAX_STRING = 64  # characters of a text in a table
CODECS = ("SNAPPY", "UNCOMPRESSED")  # what the suite writes; neither grows far when it is unpacked
PLAIN = (pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)


CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


def probe(folder: Path) -> None:
    """Read every Parquet file below `folder`, in a process of its own: some damage crashes the library that reads it.

    Raises:
        Unusable: for a file that is damaged or not within the limits.
        ChildProcessError: if the process ended for another reason, which says nothing about the files.
    """
    done = subprocess.run(
        [sys.executable, "-m", "leaderboard.submissions.tables", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    last = lines[-1] if lines else {}
    if "refused" in last:
        raise Unusable(f"{last['file']}: {last['refused']}")
    if "read" in last:
        return
    if lines and -done.returncode in CRASHES:
        raise Unusable(f"{last['file']} is damaged: it crashes what reads it")
    if lines and -done.returncode == signal.SIGXCPU:
        raise Unusable(f"{last['file']}: the tables take more than {MAX_CPU_S // 60} minutes to be read")
    why = " ".join(done.stderr.split("\n")[-2:]).strip()[:200] or f"exit code {done.returncode}"
    if done.returncode < 0:
        why = f"it was ended by signal {-done.returncode}"
    raise ChildProcessError(f"the process that reads the tables did not finish: {why}")


def _probe(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S + 10))
    with limited_memory():
        for file in sorted(folder.rglob("*.parquet")):
            said = {"file": file.relative_to(folder).as_posix()}
            print(json.dumps(said), flush=True)
            try:
                read_table(file)
            except Unusable as error:
                print(json.dumps(said | {"refused": str(error)}), flush=True)
                return
        print(json.dumps({"read": "all"}), flush=True)  # what happens after this says nothing about the files


def read_table(path: Path) -> pa.Table:
    """A Parquet file of plain columns.

    Raises:
        Unusable: for one that is damaged or not within the limits.
        OSError: from the disk.
    """
    data = pa.py_buffer(read_bytes(path, MAX_FILE))  # so that whatever Arrow raises follows from the bytes
    try:
        rows = _check_layout(path.name, data)
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        table.validate(full=True)  # invalid UTF-8
    except Unusable:
        raise
    except MemoryError:
        raise Unusable(f"{path.name} needs more memory than a submission may take") from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, NotImplementedError):
        raise Unusable(f"{path.name} is damaged: not a Parquet file of the suite") from None
    if table.num_rows != rows:
        raise Unusable(f"{path.name} has {table.num_rows} rows, its end says {rows}")
    return table


def _check_layout(name: str, data: pa.Buffer) -> int:
    """How many rows the table has, by all that says so."""
    reader = pq.ParquetFile(pa.BufferReader(data), thrift_string_size_limit=2**20, thrift_container_size_limit=100_000)
    meta, schema = reader.metadata, reader.schema_arrow
    if meta.num_rows > MAX_ROWS or meta.num_columns > MAX_COLUMNS:
        raise Unusable(f"{name} has {meta.num_rows} rows and {meta.num_columns} columns, more than any run")
    if len(set(schema.names)) < len(schema.names):
        raise Unusable(f"{name} has a column twice")
    for field in schema:
        if not any(test(field.type) for test in PLAIN):
            raise Unusable(f"{name} has a column of type {str(field.type)[:40]}")
    if meta.num_row_groups > MAX_ROW_GROUPS:
        raise Unusable(f"{name} has {meta.num_row_groups} row groups; {MAX_ROW_GROUPS} are the most")
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    counts = [group.column(i).num_values == group.num_rows for group in groups for i in range(group.num_columns)]
    if rows != meta.num_rows or min((group.num_rows for group in groups), default=0) < 0 or not all(counts):
        raise Unusable(f"{name} has parts with other numbers of rows than its end says")
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    if sum(chunk.total_uncompressed_size for chunk in chunks) > MAX_BYTES:
        raise Unusable(f"{name} unpacks to more than {MAX_BYTES // 2**20} MiB")
    if others := {chunk.compression for chunk in chunks} - set(CODECS):
        raise Unusable(f"{name} is packed with {sorted(others)[0]}; expected {' or '.join(CODECS)}")
    # A short text list may stand for long columns: look at the list before it is repeated for every row.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    for batch in pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts).iter_batches(
        columns=texts, use_threads=False
    ):
        for column in batch.columns:
            longest = pc.call_function("max", [pc.call_function("binary_length", [column.dictionary])]).as_py() or 0
            if longest > MAX_STRING:
                raise Unusable(f"{name} has a text of {longest} bytes, more than {MAX_STRING}")
    return rows


if __name__ == "__main__":
    process.follow_parent()
    _probe(Path(sys.argv[1]))
