"""Reads what the W&B client writes to disk."""

import json
import struct

from wandb.proto.wandb_internal_pb2 import Record


def read(file):
    """Records of a `.wandb` file."""
    return [Record.FromString(data) for data in _leveldb_records(file.read_bytes())]


def history(records):
    """The logged rows, `_step` included."""
    return [
        {item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json) for item in r.history.item}
        for r in records
        if r.HasField("history")
    ]


def exit_codes(records):
    return [record.exit.exit_code for record in records if record.HasField("exit")]


def _leveldb_records(data):
    """Payloads of a W&B file: a 7-byte header, then LevelDB log blocks of 32 KiB."""
    block, position, parts = 32768, 7, []
    while position + 7 <= len(data):
        room = block - position % block
        if room < 7:
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # whole, or last part
            yield b"".join(parts)
            parts = []
