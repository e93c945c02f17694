"""One suite over every codec at every level."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from service.codecs.codec import CODECS, Codec, CodecError, Format, Level, transcode
from tests.parts import missing
from tests.service.payloads import MIB, cut, mixed, noise, text, thread_count, threads_settle_at

EVERY_CODEC = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.format.value)
EVERY_LEVEL = pytest.mark.parametrize("level", Level)
SMALL_PAYLOAD = text(60_000) + noise(20_000) + bytes(70_000)


def packed(codec: Codec, data: bytes, level: Level = Level.FAST, *, threads: int = 2) -> bytes:
    return b"".join(codec.compress(cut(data, MIB), level=level, threads=threads, size_bytes=len(data)))


def unpacked(codec: Codec, data: bytes, chunk_bytes: int = 1 << 16) -> bytes:
    return b"".join(codec.decompress(cut(data, chunk_bytes)))


@EVERY_CODEC
def test_table_is_keyed_by_the_codecs_own_format(codec: Codec) -> None:
    assert CODECS[codec.format] is codec
    assert codec.suffix.startswith(".")
    assert "/" in codec.media_type


@EVERY_LEVEL
@EVERY_CODEC
@pytest.mark.parametrize("size_bytes", [0, 1, MIB - 1, MIB, MIB + 1])
def test_what_was_compressed_comes_back(codec: Codec, level: Level, size_bytes: int) -> None:
    data = mixed(size_bytes)

    assert unpacked(codec, packed(codec, data, level)) == data


@EVERY_LEVEL
@EVERY_CODEC
def test_mixed_mebibytes_come_back(codec: Codec, level: Level) -> None:
    slow = codec.format is Format.XZ or level is Level.SMALL
    data = mixed(2 * MIB if slow else 5 * MIB)

    compressed = packed(codec, data, level)

    assert len(compressed) < 0.6 * len(data)
    assert unpacked(codec, compressed) == data


@EVERY_CODEC
def test_unknown_size_is_no_hindrance(codec: Codec) -> None:
    compressed = b"".join(codec.compress([SMALL_PAYLOAD], level=Level.BALANCED))

    assert unpacked(codec, compressed) == SMALL_PAYLOAD


@pytest.mark.parametrize("level", [Level.FAST, Level.BALANCED])
@pytest.mark.parametrize("name", [Format.ZSTD, Format.GZIP])
@pytest.mark.parametrize("size_known", [True, False])
def test_number_of_threads_does_not_change_the_bytes(name: Format, level: Level, size_known: bool) -> None:
    data = mixed(10 * MIB)  # Two zstd jobs at fast, three at balanced; ten gzip pieces.
    size_bytes = len(data) if size_known else None

    outputs = {
        b"".join(CODECS[name].compress(cut(data, MIB), level=level, threads=threads, size_bytes=size_bytes))
        for threads in (0, 1, 2, 4)
    }

    assert len(outputs) == 1


@pytest.mark.parametrize("name", [Format.ZSTD, Format.GZIP])
def test_number_of_threads_does_not_change_the_bytes_at_small(name: Format) -> None:
    data = text(100_000) + bytes(17 * MIB) + text(100_000, 2)  # Five zstd jobs, eighteen gzip pieces.

    outputs = {packed(CODECS[name], data, Level.SMALL, threads=threads) for threads in (1, 2, 4)}

    assert len(outputs) == 1


@EVERY_CODEC
@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=40_000), max_size=8), st.sampled_from(Level), st.booleans())
def test_cuts_in_the_input_do_not_change_the_bytes(
    codec: Codec, cuts: list[int], level: Level, size_known: bool
) -> None:
    def pieces() -> Iterator[bytes | memoryview]:
        view = memoryview(SMALL_PAYLOAD)
        for size in cuts:
            yield view[:size]
            view = view[size:]
        yield bytes(view)

    size_bytes = len(SMALL_PAYLOAD) if size_known else None

    whole = b"".join(codec.compress([SMALL_PAYLOAD], level=level, size_bytes=size_bytes))

    assert b"".join(codec.compress(pieces(), level=level, size_bytes=size_bytes)) == whole


@pytest.mark.parametrize("chunk_bytes", [99_991, 4 * MIB, 9 * MIB])
@EVERY_CODEC
def test_cuts_in_a_large_input_do_not_change_the_bytes(codec: Codec, chunk_bytes: int) -> None:
    data = mixed(9 * MIB if codec.format is not Format.XZ else MIB + 1)

    again = codec.compress(cut(data, chunk_bytes), level=Level.FAST, threads=2, size_bytes=len(data))

    assert b"".join(again) == packed(codec, data)


@EVERY_LEVEL
@EVERY_CODEC
def test_cut_off_output_is_refused_wherever_it_is_cut(codec: Codec, level: Level) -> None:
    whole = packed(codec, SMALL_PAYLOAD, level)
    positions = {0, 1, 2, 3, 4, 5, 9, 10, 17, 18, 19, len(whole) // 3, len(whole) // 2}
    positions |= {len(whole) - tail for tail in (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 40)}

    for position in sorted(positions):
        with pytest.raises(CodecError):
            unpacked(codec, whole[:position])


@EVERY_CODEC
def test_cut_between_members_cannot_be_told_apart_but_loses_bytes(codec: Codec) -> None:
    first, second = packed(codec, b"first"), packed(codec, b"second")

    if codec.format is Format.BROTLI:
        with pytest.raises(CodecError):
            unpacked(codec, first + second)
    else:
        assert unpacked(codec, first + second) == b"firstsecond"


@EVERY_LEVEL
@EVERY_CODEC
def test_one_flipped_byte_never_gives_the_same_bytes_silently(codec: Codec, level: Level) -> None:
    data = text(30_000) + noise(3_000)
    whole = packed(codec, data, level)
    # Gzip's header has a time and a system (bytes 4 to 9) that carry nothing of the content.
    positions = [at for at in range(0, len(whole), 211) if not (codec.format is Format.GZIP and 3 < at < 10)]

    for position in [*positions, len(whole) - 1]:
        spoilt = bytearray(whole)
        spoilt[position] ^= 0x10
        try:
            result = unpacked(codec, bytes(spoilt))
        except CodecError:
            continue
        assert result != data


@pytest.mark.parametrize("garbage", [b"\0", b"x", b"garbage at the end", bytes(600)], ids=len)
@EVERY_CODEC
def test_garbage_after_the_end_is_refused(codec: Codec, garbage: bytes) -> None:
    whole = packed(codec, SMALL_PAYLOAD)

    with pytest.raises(CodecError):
        unpacked(codec, whole + garbage)
    with pytest.raises(CodecError):
        b"".join(codec.decompress([whole, garbage]))


@EVERY_CODEC
def test_something_else_altogether_is_refused(codec: Codec) -> None:
    with pytest.raises(CodecError):
        unpacked(codec, noise(5000))


@EVERY_CODEC
def test_a_bomb_is_decoded_in_small_steps(codec: Codec) -> None:
    bomb = b"".join(codec.compress((bytes(MIB) for _ in range(100)), level=Level.FAST))
    assert len(bomb) < 200_000

    tracemalloc.start()
    try:
        steps = [len(step) for step in codec.decompress([bomb])]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert sum(steps) == 100 * MIB
    assert max(steps) <= 2 * MIB
    assert peak_bytes < 12 * MIB


@EVERY_LEVEL
@EVERY_CODEC
def test_closing_midway_leaves_no_thread(codec: Codec, level: Level) -> None:
    pulled = 0

    def endless() -> Iterator[bytes]:
        nonlocal pulled
        while True:
            pulled += 1
            yield noise(MIB, pulled)

    before = thread_count()
    stream = codec.compress(endless(), level=level, threads=4)
    next(stream)

    stream.close()
    del stream

    assert threads_settle_at(before)
    assert pulled < 60  # What is held at most, of an input without end.


@EVERY_CODEC
def test_errors_of_the_input_pass_through_and_leave_no_thread(codec: Codec) -> None:
    class CancelledError(Exception):
        pass

    def failing() -> Iterator[bytes]:
        yield bytes(6 * MIB)
        raise CancelledError

    before = thread_count()

    with pytest.raises(CancelledError):
        list(codec.compress(failing(), level=Level.FAST, threads=4))
    with pytest.raises(CancelledError):
        list(codec.decompress(failing_after(packed(codec, b"x" * 100), CancelledError)))

    assert threads_settle_at(before)


def failing_after(data: bytes, error: type[Exception]) -> Iterator[bytes]:
    yield data[:5]
    raise error


@EVERY_LEVEL
@pytest.mark.parametrize("size_bytes", [1000, 70_000_000, 10**12])
def test_zstd_announces_checksum_size_and_a_window_browsers_accept(level: Level, size_bytes: int) -> None:
    def source() -> Iterator[bytes]:
        for number in range(-(-size_bytes // MIB)):
            yield noise(min(size_bytes, MIB), number) if level is not Level.SMALL else bytes(min(size_bytes, MIB))

    stream = CODECS[Format.ZSTD].compress(source(), level=level, threads=2, size_bytes=size_bytes)
    frame = zstandard.get_frame_parameters(bytes(next(filter(None, stream))))

    assert frame.window_size <= 8 * MIB
    assert frame.content_size == size_bytes
    assert frame.has_checksum


def test_zstd_window_stays_small_when_the_size_is_unknown() -> None:
    for level in Level:
        frame = zstandard.get_frame_parameters(b"".join(CODECS[Format.ZSTD].compress([b"x"], level=level)))

        assert frame.window_size <= 8 * MIB


@pytest.mark.parametrize("announced", [999, 1001])
def test_zstd_refuses_input_of_another_size_than_announced(announced: int) -> None:
    with pytest.raises(CodecError):
        list(CODECS[Format.ZSTD].compress([bytes(1000)], level=Level.FAST, size_bytes=announced))


def test_zstd_refuses_a_window_larger_than_browsers_accept() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=25)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = compressor.compress(bytes(MIB)) + compressor.flush()

    with pytest.raises(CodecError):
        unpacked(CODECS[Format.ZSTD], frame)


def test_zstd_frame_with_skewed_block_border_is_refused() -> None:
    whole = packed(CODECS[Format.ZSTD], SMALL_PAYLOAD)
    start = zstandard.frame_header_size(whole[:18])
    spoilt = bytearray(whole)
    spoilt[start] |= 1  # The first block now says that it is the last.

    with pytest.raises(CodecError):
        unpacked(CODECS[Format.ZSTD], bytes(spoilt))


def test_zstd_frame_without_checksum_is_decoded() -> None:
    frame = zstandard.ZstdCompressor(write_checksum=False).compress(SMALL_PAYLOAD)

    assert unpacked(CODECS[Format.ZSTD], frame) == SMALL_PAYLOAD


def test_gzip_has_neither_time_nor_name() -> None:
    for level in Level:
        header = packed(CODECS[Format.GZIP], b"content", level)[:10]

        assert header[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


def test_gzip_stores_what_does_not_compress() -> None:
    for level in Level:
        data = noise(5 * MIB)

        assert len(packed(CODECS[Format.GZIP], data, level)) < len(data) * 1.001


@EVERY_LEVEL
def test_standard_library_opens_gzip_and_xz(level: Level) -> None:
    data = mixed(4 * MIB + 5) if level is not Level.SMALL else SMALL_PAYLOAD

    assert gzip.decompress(packed(CODECS[Format.GZIP], data, level)) == data
    assert lzma.decompress(packed(CODECS[Format.XZ], SMALL_PAYLOAD, level)) == SMALL_PAYLOAD


@pytest.mark.parametrize(
    ("name", "tool"), [(Format.ZSTD, "zstd"), (Format.GZIP, "gzip"), (Format.XZ, "xz"), (Format.BROTLI, "brotli")]
)
@EVERY_LEVEL
def test_command_line_tool_opens_it(name: Format, tool: str, level: Level, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        missing(f"{tool} is not installed")
    file = tmp_path / f"packed{CODECS[name].suffix}"
    file.write_bytes(packed(CODECS[name], SMALL_PAYLOAD, level))

    done = subprocess.run([tool, "-dc", str(file)], capture_output=True, check=True)

    assert done.stdout == SMALL_PAYLOAD


@pytest.mark.parametrize("target", [Format.GZIP, Format.ZSTD])
@EVERY_CODEC
def test_transcoding_gives_the_same_bytes_in_the_other_format(codec: Codec, target: Format) -> None:
    data = mixed(5 * MIB)
    compressed = packed(codec, data)
    before = thread_count()

    stream = transcode(cut(compressed, 1 << 16), codec, CODECS[target])
    first = next(stream)

    if target is Format.GZIP:
        assert threads_settle_at(before)
    assert unpacked(CODECS[target], bytes(first) + b"".join(stream)) == data


def test_transcoding_a_spoilt_stream_fails() -> None:
    compressed = packed(CODECS[Format.ZSTD], SMALL_PAYLOAD)[:-1]

    with pytest.raises(CodecError):
        list(transcode([compressed], CODECS[Format.ZSTD], CODECS[Format.GZIP]))
