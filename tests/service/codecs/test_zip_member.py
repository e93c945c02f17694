"""What stands in the head of a zip's members: CRC and sizes wherever they can be known before the data."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from service.codecs.archive import ARCHIVES, Member
from service.codecs.codec import CodecError, Format, Level
from service.codecs.zip_member import HELD_BYTES
from service.codecs.zip_stream import DEFLATED, Entry, central_directory, descriptor, local_header
from tests.service.codecs.zip_heads import Head, heads
from tests.service.payloads import MIB, cut, giant, noise, text, write_sparse

GIB_4 = 1 << 32
SLOW_TO_DEFLATE = noise(12 * MIB).hex().encode()[: 18 * MIB]
"""Deflates to more than 8 MiB."""


def packed(*members: Member, threads: int = 2) -> bytes:
    return b"".join(ARCHIVES[Format.ZIP].pack(members, level=Level.FAST, threads=threads))


def member(name: str, content: bytes, chunk_bytes: int = MIB) -> Member:
    return Member(name, len(content), lambda: cut(content, chunk_bytes))


def head_of(content: bytes) -> Head:
    return heads(io.BytesIO(packed(member("a", content))))["a"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        text(50_000),
        text(15 * MIB),
        noise(2 * MIB),
        noise(HELD_BYTES),
        noise(HELD_BYTES + 1),
        noise(3 * HELD_BYTES),
    ],
    ids=["empty", "a byte", "text", "much text", "a photo", "as much as is held", "a byte more", "three times as much"],
)
def test_head_says_crc_and_sizes_and_nothing_follows_the_data(content: bytes) -> None:
    head = head_of(content)

    assert not head.described
    assert (head.crc32, head.size_bytes, head.after) == (zlib.crc32(content), len(content), b"")
    assert (head.version, head.zip64) == (20, False)


def test_what_deflates_to_more_than_is_held_is_described_after_its_data() -> None:
    head = head_of(SLOW_TO_DEFLATE)

    assert (head.method, head.described, head.zip64) == (zipfile.ZIP_DEFLATED, True, False)
    assert (head.crc32, head.packed_bytes, head.size_bytes) == (0, 0, 0)
    signature, crc32, packed_bytes, size_bytes = struct.unpack("<IIII", head.after)
    assert (signature, crc32, size_bytes) == (0x08074B50, zlib.crc32(SLOW_TO_DEFLATE), len(SLOW_TO_DEFLATE))
    assert packed_bytes > HELD_BYTES


def test_equal_members_are_equal_bytes_whatever_the_threads_and_cuts() -> None:
    contents = {
        "described": SLOW_TO_DEFLATE,
        "looked at": noise(HELD_BYTES + 5),
        "held": text(9 * MIB),
        "changing": noise(MIB) + text(5 * MIB),
        "changing back": text(MIB) + noise(5 * MIB),
    }

    outputs = {
        packed(*(member(name, content, chunk_bytes) for name, content in contents.items()), threads=threads)
        for threads, chunk_bytes in [(1, MIB), (2, 77_777), (4, 6 * MIB)]
    }

    assert len(outputs) == 1


class Counting:
    """Reads a content and counts how often."""

    def __init__(self, *contents: bytes) -> None:
        self.times = 0
        self._contents = contents

    def __call__(self) -> Iterator[bytes]:
        self.times += 1
        return cut(self._contents[min(self.times, len(self._contents)) - 1], MIB)


@pytest.mark.parametrize(("size_bytes", "looks"), [(100, 0), (HELD_BYTES, 0), (HELD_BYTES + 1, 1)])
def test_only_what_is_stored_and_cannot_be_held_is_looked_at_first(size_bytes: int, looks: int) -> None:
    content = noise(size_bytes)
    read, look = Counting(content), Counting(content)

    data = packed(Member("a", size_bytes, read, look))

    assert (read.times, look.times) == (1, looks)
    assert zipfile.ZipFile(io.BytesIO(data)).read("a") == content


def test_looking_hands_control_back_and_is_no_progress() -> None:
    content = noise(3 * HELD_BYTES)
    told: list[int] = []
    stream = ARCHIVES[Format.ZIP].pack([member("a", content)], level=Level.FAST, finished=told.append)

    before_the_head = list(takewhile(lambda chunk: not chunk, stream))

    assert len(before_the_head) == len(content) // MIB
    assert told == []
    for _ in stream:
        pass
    assert sum(told) == len(content)


@pytest.mark.parametrize("content", [b"", text(15 * MIB), SLOW_TO_DEFLATE, noise(HELD_BYTES)], ids=len)
def test_each_byte_is_told_of_once(content: bytes) -> None:
    told: list[int] = []

    for _ in ARCHIVES[Format.ZIP].pack([member("a", content)], level=Level.FAST, threads=2, finished=told.append):
        pass

    assert sum(told) == len(content)


def test_member_without_a_look_is_read_twice() -> None:
    content = noise(HELD_BYTES + 1)
    read = Counting(content)

    data = packed(Member("a", len(content), read))

    assert read.times == 2
    assert zipfile.ZipFile(io.BytesIO(data)).read("a") == content


@pytest.mark.parametrize(
    "change",
    [lambda content: noise(len(content), 3), lambda content: content[:-1], lambda content: content + b"x"],
    ids=["other bytes", "fewer", "more"],
)
@pytest.mark.parametrize("looked_first", [True, False])
def test_member_that_changes_between_two_readings_is_refused(
    change: Callable[[bytes], bytes], looked_first: bool
) -> None:
    content = noise(HELD_BYTES + 1)
    contents = (content, change(content))
    one, other = contents if looked_first else contents[::-1]

    with pytest.raises(CodecError):
        packed(Member("a", len(content), Counting(one), Counting(other)))


@pytest.mark.parametrize(
    ("size_bytes", "start", "described", "zip64"),
    [
        (4_227_858_430, SLOW_TO_DEFLATE, True, False),
        (4_261_412_864, SLOW_TO_DEFLATE, False, False),
        (GIB_4 - 1, SLOW_TO_DEFLATE, False, True),
        (GIB_4, SLOW_TO_DEFLATE, True, True),
        (5 << 30, SLOW_TO_DEFLATE, True, True),
        (5 << 30, b"", False, True),
        (4_261_412_864, noise(MIB), False, False),
        (GIB_4 - 1, noise(MIB), False, True),
        (GIB_4, noise(MIB), False, True),
    ],
)
def test_zip64_stands_exactly_where_a_number_needs_it(
    size_bytes: int, start: bytes, described: bool, zip64: bool, tmp_path: Path
) -> None:
    members = [Member("giant", size_bytes, lambda: giant(size_bytes, start)), member("small", b"small")]
    write_sparse(tmp_path / "packed.zip", ARCHIVES[Format.ZIP].pack(members, level=Level.FAST, threads=1))

    with (tmp_path / "packed.zip").open("rb") as file:
        found = heads(file)
        with zipfile.ZipFile(file) as archive:
            info, small = archive.infolist()
            assert archive.read(small) == b"small"

    head = found["giant"]
    assert (head.described, head.zip64, head.version) == (described, zip64, 45 if zip64 else 20)
    assert (info.file_size, info.extract_version) == (size_bytes, head.version)
    assert len(head.after) == (24 if zip64 else 16) * described
    if described:
        assert struct.unpack("<QQ" if zip64 else "<II", head.after[8:]) == (info.compress_size, size_bytes)
    else:
        assert (head.crc32, head.packed_bytes, head.size_bytes) == (info.CRC, info.compress_size, size_bytes)
    assert not found["small"].zip64
    assert small.extract_version == (45 if small.header_offset >= GIB_4 - 1 else 20)


def test_member_that_outgrows_four_gib_only_when_packed_is_told_so_in_its_head() -> None:
    entry = Entry(b"a", DEFLATED, 0, GIB_4 - 5, packed_bytes=GIB_4 + 5)

    header = local_header(entry)

    assert header[-20:] == struct.pack("<HHQQ", 1, 16, GIB_4 - 5, GIB_4 + 5)
    assert header[18:26] == b"\xff" * 8


def test_descriptor_is_never_written_narrower_than_its_numbers() -> None:
    with pytest.raises(CodecError):
        descriptor(Entry(b"a", DEFLATED, 0, GIB_4 - 5, packed_bytes=GIB_4 + 5, described=True))


@pytest.mark.parametrize("size_bytes", [5, GIB_4 - 1, 5 << 30])
@pytest.mark.parametrize("packed_bytes", [5, GIB_4 - 1, 6 << 30])
@pytest.mark.parametrize("offset", [0, GIB_4 - 1, 7 << 30])
def test_central_directory_has_all_three_zip64_fields_where_one_is_needed(
    size_bytes: int, packed_bytes: int, offset: int
) -> None:
    numbers = (size_bytes, packed_bytes, offset)
    needed = max(numbers) >= GIB_4 - 1

    header = central_directory([Entry(b"a", DEFLATED, offset, size_bytes, packed_bytes=packed_bytes)], 0)
    extra = header[47 : header.index(b"PK\x05\x06")]

    assert extra == (struct.pack("<HHQQQ", 1, 24, *numbers) if needed else b"")
    short = struct.unpack("<II", header[20:28]) + struct.unpack("<I", header[42:46])
    assert short == ((GIB_4 - 1,) * 3 if needed else (packed_bytes, size_bytes, offset))
    assert struct.unpack("<H", header[6:8]) == (45 if needed else 20,)


@pytest.mark.parametrize("count", [0xFFFE, 0xFFFF, 0x10000])
def test_end_uses_zip64_exactly_where_the_count_needs_it(count: int) -> None:
    directory = central_directory([Entry(b"a", DEFLATED, 0, 0)] * count, 100)

    assert (b"PK\x06\x06" in directory, b"PK\x06\x07" in directory) == (count >= 0xFFFF,) * 2
    assert struct.unpack("<HH", directory[-14:-10]) == (min(count, 0xFFFF),) * 2


@pytest.mark.parametrize("offset", [GIB_4 - 2, GIB_4 - 1, GIB_4 + 5])
def test_end_uses_zip64_exactly_where_the_directory_lies_too_far(offset: int) -> None:
    directory = central_directory([Entry(b"a", DEFLATED, 0, 0)], offset)

    assert (b"PK\x06\x06" in directory) == (offset >= GIB_4 - 1)
    assert struct.unpack("<I", directory[-6:-2]) == (min(offset, GIB_4 - 1),)
