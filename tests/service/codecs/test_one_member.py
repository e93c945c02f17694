"""What is made is one member, one frame, one stream: shown by readers that stop at the end of the first."""

from __future__ import annotations

import io
import lzma
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import brotli
import pytest
import zstandard
from isal import isal_zlib

from service.codecs.archive import ARCHIVES, Archive, Member
from service.codecs.codec import CODECS, Codec, Format, Level, transcode
from service.codecs.gzip_pieces import QUICK, Piece, one_member
from tests.parts import missing
from tests.service.payloads import MIB, cut, mixed, noise, text

EVERY_CODEC = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.format.value)
EVERY_LEVEL = pytest.mark.parametrize("level", Level)


def first_member(data: bytes) -> bytes:
    """Decode gzip as browsers, Ruby and Perl do."""
    decoder = zlib.decompressobj(31)
    content = decoder.decompress(data)
    assert decoder.eof
    assert decoder.unused_data == b""
    return content


def first_frame(data: bytes) -> bytes:
    """Decode zstd in one shot, as most programs do: without its size in the frame that would fail."""
    return zstandard.ZstdDecompressor().decompress(data)


def first_brotli_stream(data: bytes) -> bytes:
    decoder = brotli.Decompressor()
    content: bytes = decoder.process(data)
    assert decoder.is_finished()
    return content


def first_xz_stream(data: bytes) -> bytes:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    content = decoder.decompress(data)
    assert decoder.eof
    assert decoder.unused_data == b""
    return content


FIRST: Mapping[Format, Callable[[bytes], bytes]] = {
    Format.ZSTD: first_frame,
    Format.GZIP: first_member,
    Format.BROTLI: first_brotli_stream,
    Format.XZ: first_xz_stream,
}


def packed(codec: Codec, data: bytes, level: Level, *, threads: int = 2) -> bytes:
    return b"".join(codec.compress(cut(data, MIB), level=level, threads=threads, size_bytes=len(data)))


def quick(size_bytes: int) -> bytes:
    """Bytes that no level takes long for: text, zeros, noise, text."""
    ends = text(150_000) + noise(150_000) + text(150_000, 2)
    return (ends[:300_000] + bytes(max(0, size_bytes - len(ends))) + ends[300_000:])[:size_bytes]


CUTS = {Format.GZIP: [1], Format.ZSTD: [4, 8], Format.BROTLI: [1], Format.XZ: []}
"""MiB at which a format cuts its input: pieces, jobs, steps."""
SIZES = [
    (name, size_bytes)
    for name, cuts in CUTS.items()
    for size_bytes in [0, 1, *(at * MIB + off for at in cuts for off in (-1, 0, 1)), 40 * MIB]
]


@pytest.mark.parametrize(("name", "size_bytes"), SIZES)
@EVERY_LEVEL
def test_the_first_member_is_the_whole(name: Format, level: Level, size_bytes: int) -> None:
    codec, data = CODECS[name], quick(size_bytes)

    compressed = packed(codec, data, level)

    assert FIRST[codec.format](compressed) == data
    assert b"".join(codec.decompress(cut(compressed, 1 << 16))) == data


@EVERY_LEVEL
@EVERY_CODEC
def test_the_first_member_is_the_whole_of_what_is_hard_to_compress(codec: Codec, level: Level) -> None:
    data = mixed(2 * MIB + 77) if level is Level.SMALL or codec.format is Format.XZ else mixed(9 * MIB + 77)

    assert FIRST[codec.format](packed(codec, data, level)) == data


@EVERY_LEVEL
def test_the_first_frame_is_the_whole_when_the_size_was_not_known(level: Level) -> None:
    data = quick(9 * MIB)
    compressed = b"".join(CODECS[Format.ZSTD].compress(cut(data, MIB), level=level, threads=2))

    assert zstandard.ZstdDecompressor().decompress(compressed, max_output_size=len(data)) == data


@EVERY_LEVEL
@pytest.mark.parametrize("name", [Format.TAR_GZ, Format.TAR_ZST])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_a_compressed_tar_is_one_member_too(name: Format, level: Level, count: int) -> None:
    archive: Archive = ARCHIVES[name]
    data = quick(300_001)
    files = [Member(f"{number}-{'n' * 40 * number}", len(data), lambda: cut(data, 77_777)) for number in range(count)]
    compressed = b"".join(archive.pack(files, level=level, threads=2))

    tar = FIRST[Format.GZIP if name is Format.TAR_GZ else Format.ZSTD](compressed)

    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert [(info.name, info.size) for info in opened] == [(file.name, file.size_bytes) for file in files]


@EVERY_CODEC
def test_transcoding_makes_one_member_of_several(codec: Codec) -> None:
    parts = [text(70_000), noise(2 * MIB)] if codec.format is not Format.BROTLI else [text(2 * MIB)]
    several = b"".join(packed(codec, part, Level.FAST) for part in parts)

    compressed = b"".join(transcode([several], codec, CODECS[Format.GZIP]))

    assert first_member(compressed) == b"".join(parts)


GZIP_READERS = {
    "perl": ["perl", "-MIO::Uncompress::Gunzip=gunzip", "-e", r"gunzip(\*STDIN => \*STDOUT) or die"],
    "ruby": ["ruby", "-rzlib", "-e", "STDOUT.binmode; STDOUT.write(Zlib::GzipReader.new(STDIN.binmode).read)"],
    "gzip": ["gzip", "-dc"],
}


@EVERY_LEVEL
@pytest.mark.parametrize("reader", GZIP_READERS)
def test_readers_that_people_use_see_the_whole_gzip(reader: str, level: Level) -> None:
    if shutil.which(GZIP_READERS[reader][0]) is None:
        missing(f"{reader} is not installed")
    data = mixed(5 * MIB + 5)

    done = subprocess.run(
        GZIP_READERS[reader], input=packed(CODECS[Format.GZIP], data, level), capture_output=True, check=True
    )

    assert done.stdout == data


@EVERY_LEVEL
def test_gzip_tells_its_size(level: Level, tmp_path: Path) -> None:
    file = tmp_path / "packed.gz"
    file.write_bytes(packed(CODECS[Format.GZIP], quick(5 * MIB + 5), level))

    subprocess.run(["gzip", "-t", file], check=True)
    listed = subprocess.run(["gzip", "-l", file], capture_output=True, check=True).stdout.split()

    assert int(listed[5]) == 5 * MIB + 5, "a file of several members tells the last one's size"


@EVERY_LEVEL
def test_zstd_counts_one_frame(level: Level, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        missing("zstd is not installed")
    file = tmp_path / "packed.zst"
    file.write_bytes(packed(CODECS[Format.ZSTD], quick(20 * MIB), level))

    subprocess.run(["zstd", "-qt", file], check=True)
    listed = subprocess.run(["zstd", "-lv", file], capture_output=True, check=True, text=True).stdout

    assert "# Zstandard Frames: 1\n" in listed


def test_a_member_of_more_than_four_gib_is_whole() -> None:
    zeros = bytes(MIB)

    def piece(content: bytes, before: bytes) -> Piece:
        return Piece(QUICK.deflate(content, before), isal_zlib.crc32(content), len(content))

    pieces = [piece(zeros, b""), *[piece(zeros, zeros[: 32 << 10])] * 4095, piece(b"last!", zeros[: 32 << 10])]

    compressed = b"".join(one_member(pieces))

    assert compressed[-4:] == (5).to_bytes(4, "little"), "the size is told modulo 2^32"
    assert sum(map(len, CODECS[Format.GZIP].decompress(cut(compressed, MIB)))) == 5 + (4 << 30)
