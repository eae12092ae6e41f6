"""A zip file from an enemy, unpacked: one plain archive, in which every reader finds the same files.

The table of contents, the headers before the files, and what lies between them all have to say the same. Formats that
say a thing twice (zip64, extra fields, sizes behind the data) are refused: `leaderboard.submit` writes none of them.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from suite.untrusted import Unusable

MIB = 2**20
MAX_ENTRIES = 10_000
MAX_DIRECTORY = 4 * MIB  # of the table of contents
CHUNK = MIB // 4

_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_ZIP64 = b"PK\6\7"  # stands 20 bytes before the end record
_FLAGS = 0x0806  # how hard it was packed, and UTF-8 in names; all others change what the bytes mean


@dataclass(frozen=True)
class Limits:
    """How large a bundle may be. `ratio` is bytes unpacked per byte packed, for files above 1 MiB."""

    packed: int = 512 * MIB
    unpacked: int = 1024 * MIB
    ratio: int = 100


def unpack(path: Path, folder: Path, limits: Limits, most: Callable[[str], int]) -> None:
    """Unpack `path` into `folder`, counting what comes out.

    `most` gives the most bytes that a file of a name may have, 0 for a name that no bundle has.

    Raises:
        Unusable: with the reason.
        OSError: from the disk.
    """
    if (size := path.stat().st_size) > limits.packed:
        raise Unusable(f"the bundle has {size // MIB} MiB, more than {limits.packed // MIB} MiB")
    left = limits.unpacked
    with path.open("rb") as file:
        entries, table = _read_end(file, size)
        try:
            with zipfile.ZipFile(file) as archive:
                members, start = archive.infolist(), archive.start_dir
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
            raise _damaged(error) from None
        if start != table or len(members) != entries:
            raise Unusable("not one plain zip archive: it has two tables of contents")
        _check_members(members, most)
        end = 0  # of the file before
        for member in sorted(members, key=lambda member: member.header_offset):
            end = _check_place(file, member, end)
            left -= _extract(file, member, folder / member.filename, most(member.filename), left, limits)
        if end != table:
            raise Unusable("not one plain zip archive: there is something between its files")


def _read_end(file: IO[bytes], size: int) -> tuple[int, int]:
    """How many entries the table of contents has and where it starts; nothing may be before, behind or beside it."""
    file.seek(max(0, size - _END.size - 20))
    tail = file.read()
    before, end = tail[: -_END.size], tail[-_END.size :]
    if len(end) < _END.size or not end.startswith(b"PK\5\6"):
        raise Unusable("not a zip file, or one that was cut off")
    _, disk, start_disk, on_disk, entries, length, offset, comment = _END.unpack(end)
    if disk or start_disk or on_disk != entries or comment or offset + length != size - _END.size:
        raise Unusable("not one plain zip archive: it has parts before, after or elsewhere")
    if before.startswith(_ZIP64):
        raise Unusable("the zip is in the zip64 format, which no bundle needs")
    if entries > MAX_ENTRIES or length > MAX_DIRECTORY:
        raise Unusable(f"the zip has {entries} entries; {MAX_ENTRIES} are the most")
    return entries, offset


def _check_members(members: Sequence[zipfile.ZipInfo], most: Callable[[str], int]) -> None:
    seen: set[str] = set()
    for member in members:
        name = member.orig_filename  # `filename` is cut at a zero byte
        shown = ascii(name[:80])
        if name.lower() in seen:
            raise Unusable(f"{shown} is in the zip twice")
        seen.add(name.lower())
        kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == 3 else 0
        if kind == stat.S_IFLNK:
            raise Unusable(f"{shown} is a link")
        if kind not in (0, stat.S_IFREG) or member.is_dir():
            raise Unusable(f"{shown} is not a plain file")
        if not most(name):
            raise Unusable(f"{shown} is not a name that a bundle may have")
        if member.flag_bits & 0x1:
            raise Unusable(f"{shown} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unusable(f"{shown} is packed in another way than stored or deflated")
        if member.flag_bits & ~_FLAGS or member.extra or member.comment:
            raise Unusable(f"{shown} has extra fields, a comment, or its size behind it; use leaderboard.submit")


def _check_place(file: IO[bytes], member: zipfile.ZipInfo, start: int) -> int:
    """Check the header before a file, which has to be at `start`; `file` is at the data then. Returns their end."""
    shown = ascii(member.filename)[:80]
    if member.header_offset != start:
        raise Unusable("not one plain zip archive: there is something between its files, or they overlap")
    file.seek(start)
    if len(header := file.read(_LOCAL.size)) < _LOCAL.size:
        raise Unusable("damaged zip: it ends in a header")
    mark, _, flags, method, _, _, crc, packed, size, name, extra = _LOCAL.unpack(header)
    table = (b"PK\3\4", member.flag_bits, member.compress_type, member.CRC, member.compress_size, member.file_size, 0)
    encoding = "utf-8" if member.flag_bits & 0x800 else "cp437"
    if (mark, flags, method, crc, packed, size, extra) != table or file.read(name) != member.filename.encode(encoding):
        raise Unusable(f"damaged zip: the header of {shown} is another than in the table of contents")
    return start + _LOCAL.size + name + packed


def _extract(file: IO[bytes], member: zipfile.ZipInfo, target: Path, most: int, left: int, limits: Limits) -> int:
    """Unpack one file, counting what really comes out; returns its size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = crc = 0
    with target.open("xb") as out:
        for chunk in _chunks(file, member):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            if size > most:
                raise Unusable(f"{member.filename} has more than {_size(most)}")
            if size > left:
                raise Unusable(f"unpacked, the bundle has more than {limits.unpacked // MIB} MiB")
            if size > MIB and size > limits.ratio * max(1, member.compress_size):
                raise Unusable(f"{member.filename} is packed more than {limits.ratio} times: a zip bomb")
            out.write(chunk)
    if size != member.file_size:
        raise Unusable(f"{member.filename} has {size} bytes, the zip says {member.file_size}")
    if crc != member.CRC:
        raise Unusable(f"damaged zip: {member.filename} has another checksum")
    return size


def _chunks(file: IO[bytes], member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The unpacked content, in parts of at most `CHUNK` bytes; all of the packed bytes have to belong to it."""
    packed = (file.read(min(CHUNK, member.compress_size - at)) for at in range(0, member.compress_size, CHUNK))
    if member.compress_type == zipfile.ZIP_STORED:
        yield from packed
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for data in packed:
            while data:
                if inflate.eof:
                    raise Unusable(f"damaged zip: {member.filename} has bytes behind its end")
                yield inflate.decompress(data, CHUNK)
                data = inflate.unconsumed_tail
        while chunk := inflate.decompress(b"", CHUNK):
            yield chunk
    except zlib.error as error:
        raise _damaged(error) from None
    if not inflate.eof or inflate.unused_data:
        raise Unusable(f"damaged zip: {member.filename} is cut off, or has bytes behind its end")


def _damaged(error: Exception) -> Unusable:
    return Unusable(f"damaged zip: {' '.join(str(error).split())[:120]}")


def _size(count: int) -> str:
    return f"{count // MIB} MiB" if count >= MIB else f"{count // 2**10} KiB"
