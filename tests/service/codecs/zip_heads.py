"""What a zip's local headers say: all that a reader of streams is told before a member's data."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from typing import BinaryIO

_FORM = "<IHHHHHIIIHH"
_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Head:
    """One member's local header, and what stands between its data and the next record."""

    method: int
    described: bool
    version: int
    zip64: bool
    crc32: int
    packed_bytes: int
    size_bytes: int
    after: bytes


def heads(file: BinaryIO) -> dict[str, Head]:
    """Return every member's; names and flags of both places must agree."""
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    return {info.filename: _head(file, info, end) for info, end in zip(infos, ends, strict=True)}


def _head(file: BinaryIO, info: zipfile.ZipInfo, end: int) -> Head:
    file.seek(info.header_offset)
    fields = struct.unpack(_FORM, file.read(struct.calcsize(_FORM)))
    _, version, flags, method, _, _, crc32, packed, size, name_bytes, extra_bytes = fields
    assert (file.read(name_bytes).decode(), flags) == (info.filename, info.flag_bits)
    extra = file.read(extra_bytes)
    if extra:
        assert (packed, size, extra[:4]) == (_MASK, _MASK, struct.pack("<HH", 1, 16))
        size, packed = struct.unpack("<QQ", extra[4:])
    file.seek(info.compress_size, 1)
    after = file.read(end - file.tell())
    return Head(method, bool(flags & 8), version, bool(extra), crc32, packed, size, after)
