"""Writing a zip as a stream, with members deflated by several threads. ``archive`` offers it; nothing here reads one.

The records are those of APPNOTE 6.3.10, section 4.3: per member a local header, its data, and a descriptor (sizes and
CRC-32 are known only then); at the end the central directory. Zip64 forms are used where a number needs them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from isal import isal_zlib

from service.codec_terms import Chunk, Finished
from service.gzip_pieces import LAST_BLOCK, Engine, deflate_pieces, join_crc32

STORED, DEFLATED = 0, 8

_FLAGS = 0x0808
"""Bit 3: sizes and CRC follow the data. Bit 11: the name is UTF-8."""

_DATE_1980 = 0x0021
_REGULAR_0644 = 0o100644 << 16
_MADE_BY_UNIX = 3 << 8
_LIMIT_32 = 0xFFFFFFFF
_LIMIT_16 = 0xFFFF

_END_FORM = "<IHHHHIIH"
_END_SIGNATURE = 0x06054B50
END_BYTES = struct.calcsize(_END_FORM)

_MIGHT_NEED_ZIP64 = _LIMIT_32 - (64 << 20)
"""Sizes from here on get the Zip64 forms at once: deflate can add 0.03 %, which is 1.3 MB of 4 GiB."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the central directory tells it."""

    name: bytes
    method: int
    zip64: bool
    offset: int
    crc32: int = 0
    packed_bytes: int = 0
    size_bytes: int = 0


def new_entry(name: str, *, size_bytes: int, method: int, offset: int) -> Entry:
    """Return the entry of a member that is about to be written at ``offset``."""
    return Entry(name.encode(), method, size_bytes >= _MIGHT_NEED_ZIP64, offset)


def local_header(entry: Entry) -> bytes:
    """Return the record before a member's data."""
    version, extra = (45, struct.pack("<HHQQ", 1, 16, 0, 0)) if entry.zip64 else (20, b"")
    fields = (0x04034B50, version, _FLAGS, entry.method, 0, _DATE_1980, 0)
    size = _LIMIT_32 if entry.zip64 else 0
    head = struct.pack("<IHHHHHIIIHH", *fields, size, size, len(entry.name), len(extra))
    return head + entry.name + extra


def descriptor(entry: Entry) -> bytes:
    """Return the record after a member's data."""
    form = "<IIQQ" if entry.zip64 else "<IIII"
    return struct.pack(form, 0x08074B50, entry.crc32, entry.packed_bytes, entry.size_bytes)


def deflated(
    chunks: Iterable[Chunk], entry: Entry, *, engine: Engine, threads: int, finished: Finished
) -> Iterator[Chunk | Entry]:
    """Yield a member's deflated data, and last of all its entry, filled in."""
    crc32 = size_bytes = 0
    packed_bytes = len(LAST_BLOCK)
    for piece in deflate_pieces(chunks, engine=engine, threads=threads, finished=finished):
        crc32 = join_crc32(crc32, piece)
        size_bytes += piece.size_bytes
        packed_bytes += len(piece.deflated)
        yield piece.deflated
    yield LAST_BLOCK
    yield replace(entry, crc32=crc32, packed_bytes=packed_bytes, size_bytes=size_bytes)


def stored(chunks: Iterable[Chunk], entry: Entry, *, finished: Finished) -> Iterator[Chunk | Entry]:
    """Yield a member's data as it is, and last of all its entry, filled in."""
    crc32 = size_bytes = 0
    for chunk in chunks:
        crc32 = isal_zlib.crc32(chunk, crc32)
        size_bytes += len(chunk)
        yield chunk
        finished(len(chunk))
    yield replace(entry, crc32=crc32, packed_bytes=size_bytes, size_bytes=size_bytes)


def central_directory(entries: list[Entry], offset: int) -> bytes:
    """Return the records at the end of a zip whose members take ``offset`` bytes."""
    directory = b"".join(map(_central_header, entries))
    count, size = len(entries), len(directory)
    zip64 = b""
    if count >= _LIMIT_16 or offset >= _LIMIT_32 or size >= _LIMIT_32:
        zip64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, offset)
        zip64 += struct.pack("<IIQI", 0x07064B50, 0, offset + size, 1)
    counts = (min(count, _LIMIT_16),) * 2
    sizes = min(size, _LIMIT_32), min(offset, _LIMIT_32)
    return directory + zip64 + struct.pack(_END_FORM, _END_SIGNATURE, 0, 0, *counts, *sizes, 0)


def is_end_record(data: bytes) -> bool:
    """Say whether ``data``, the last ``END_BYTES`` of a file, end a zip without a comment."""
    if len(data) != END_BYTES:
        return False
    signature, *_, comment_bytes = struct.unpack(_END_FORM, data)
    return bool(signature == _END_SIGNATURE and comment_bytes == 0)


def _central_header(entry: Entry) -> bytes:
    numbers = [entry.size_bytes, entry.packed_bytes, entry.offset]
    large = [number for number in numbers if number >= _LIMIT_32]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size, packed, offset = (min(number, _LIMIT_32) for number in numbers)
    version = 45 if entry.zip64 or large else 20
    head = struct.pack("<IHHHHHH", 0x02014B50, _MADE_BY_UNIX | version, version, _FLAGS, entry.method, 0, _DATE_1980)
    tail = struct.pack(
        "<IIIHHHHHII", entry.crc32, packed, size, len(entry.name), len(extra), 0, 0, 0, _REGULAR_0644, offset
    )
    return head + tail + entry.name + extra
