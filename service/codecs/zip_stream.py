"""The records of a zip written as a stream: APPNOTE 6.3.10, section 4.3, with Zip64 forms where a number needs them.

``zip_member`` writes what stands between them; nothing here reads a zip.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from service.codecs.terms import CodecError

STORED, DEFLATED = 0, 8

_DESCRIBED = 0x0008
"""Bit 3: CRC and sizes follow the data."""
_UTF8 = 0x0800
"""Bit 11: the name is UTF-8."""

_DATE_1980 = 0x0021
_REGULAR_0644 = 0o100644 << 16
_MADE_BY_UNIX = 3 << 8
_VERSION_DEFLATE, _VERSION_ZIP64 = 20, 45
LIMIT_32 = 0xFFFFFFFF
"""The largest number of four bytes; in a header it says that the number stands in the Zip64 extra field."""
_LIMIT_16 = 0xFFFF

_END_FORM = "<IHHHHIIH"
_END_SIGNATURE = 0x06054B50
END_BYTES = struct.calcsize(_END_FORM)


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as its records tell it."""

    name: bytes
    method: int
    offset: int
    size_bytes: int
    crc32: int = 0
    packed_bytes: int = 0
    described: bool = False
    """CRC and sizes stand in a descriptor after the data, and not in the local header."""

    @property
    def zip64(self) -> bool:
        """Whether its local header has a Zip64 extra field, which is also what widens its descriptor (4.3.9.2).

        Java 17 goes by the sizes instead and takes only those of more than 32 bits for wide, so a descriptor's are
        wide exactly then. In a header 0xFFFFFFFF itself cannot be written without the field.
        """
        if self.described:
            return self.size_bytes > LIMIT_32
        return max(self.size_bytes, self.packed_bytes) >= LIMIT_32


def local_header(entry: Entry) -> bytes:
    """Return the record before a member's data."""
    version = _VERSION_ZIP64 if entry.zip64 else _VERSION_DEFLATE
    crc32, packed, size = (0, 0, 0) if entry.described else (entry.crc32, entry.packed_bytes, entry.size_bytes)
    extra = b""
    if entry.zip64:
        extra, packed, size = struct.pack("<HHQQ", 1, 16, size, packed), LIMIT_32, LIMIT_32
    fields = (0x04034B50, version, _flags(entry), entry.method, 0, _DATE_1980, crc32, packed, size)
    return struct.pack("<IHHHHHIIIHH", *fields, len(entry.name), len(extra)) + entry.name + extra


def descriptor(entry: Entry) -> bytes:
    """Return the record after the data of a member that is ``described``.

    Raises:
        CodecError: it was packed to more than the width that its local header promised.
    """
    if not entry.zip64 and entry.packed_bytes > LIMIT_32:
        raise CodecError("A member was packed to 4 GiB or more though it has fewer bytes.")
    form = "<IIQQ" if entry.zip64 else "<IIII"
    return struct.pack(form, 0x08074B50, entry.crc32, entry.packed_bytes, entry.size_bytes)


def _flags(entry: Entry) -> int:
    return _UTF8 | (_DESCRIBED if entry.described else 0)


def central_directory(entries: list[Entry], offset: int) -> bytes:
    """Return the records at the end of a zip whose members take ``offset`` bytes."""
    directory = b"".join(map(_central_header, entries))
    count, size = len(entries), len(directory)
    zip64 = b""
    if count >= _LIMIT_16 or offset >= LIMIT_32 or size >= LIMIT_32:
        zip64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, offset)
        zip64 += struct.pack("<IIQI", 0x07064B50, 0, offset + size, 1)
    counts = (min(count, _LIMIT_16),) * 2
    sizes = min(size, LIMIT_32), min(offset, LIMIT_32)
    return directory + zip64 + struct.pack(_END_FORM, _END_SIGNATURE, 0, 0, *counts, *sizes, 0)


def is_end_record(data: bytes) -> bool:
    """Say whether ``data``, the last ``END_BYTES`` of a file, end a zip without a comment."""
    if len(data) != END_BYTES:
        return False
    signature, *_, comment_bytes = struct.unpack(_END_FORM, data)
    return bool(signature == _END_SIGNATURE and comment_bytes == 0)


def _central_header(entry: Entry) -> bytes:
    numbers = (entry.size_bytes, entry.packed_bytes, entry.offset)
    version, extra = _VERSION_DEFLATE, b""
    if max(numbers) >= LIMIT_32:
        # All three, though one would do: after a member of exactly 0xFFFFFFFF bytes unzip 6.0 expects the sizes
        # of every later one here, and misreads a field that holds its offset alone.
        version, extra, numbers = _VERSION_ZIP64, struct.pack("<HHQQQ", 1, 24, *numbers), (LIMIT_32,) * 3
    size, packed, offset = numbers
    fields = (0x02014B50, _MADE_BY_UNIX | version, version, _flags(entry), entry.method, 0, _DATE_1980)
    head = struct.pack("<IHHHHHH", *fields)
    tail = struct.pack(
        "<IIIHHHHHII", entry.crc32, packed, size, len(entry.name), len(extra), 0, 0, 0, _REGULAR_0644, offset
    )
    return head + tail + entry.name + extra
