"""Gzip by several threads, two ways: one member built from pieces, and whole members one after the other.

``docs/adr/0001-gzip-engine.md`` says why there are two. No levels or formats are named here; ``codec`` and ``archive``
choose. Headers carry no time and no name, so equal bytes in are equal bytes out (RFC 1952).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import deflate
from isal import isal_zlib
from zlib_ng import zlib_ng

from service.chunks import rechunk
from service.codec_terms import Chunk
from service.ordered import ordered_map
from service.probe import is_incompressible, probe

PIECE_BYTES = 1 << 20
WINDOW_BYTES = 32 << 10
"""Deflate looks back 32 KiB (RFC 1951), so each piece is given that much of the one before it."""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
LAST_BLOCK = b"\x03\x00"
"""An empty final block: what ends a deflate stream whose pieces all end by a sync flush."""


_RAW = -15
"""zlib's word for a bare deflate stream with a window of 32 KiB."""

_MEMORY_LEVEL = 8
"""For zlib-ng; 9 gave 0.2 to 0.3 % more output on text, logs and libraries."""

_SAMPLE_BYTES = 16 << 10
"""Sixteen of these per member cost 1 % of compressing it. Random bytes are then passed on at 15 times the speed."""

_STORE = 0


@dataclass(frozen=True, slots=True)
class Engine:
    """A deflate library that can continue another piece's stream, and its level."""

    library: Literal["isal", "zlib-ng"]
    level: int
    """isal: 0 to 3, zlib-ng: 1 to 9. isal 0 and zlib-ng 1 make random bytes larger by 23 and 5 %: not for use."""

    def deflate(self, piece: Chunk, before: bytes) -> bytes:
        """Return ``piece`` deflated as what follows ``before``, ended by a sync flush."""
        module = isal_zlib if self.library == "isal" else zlib_ng
        settings = (self.level, module.DEFLATED, _RAW, _MEMORY_LEVEL, module.Z_DEFAULT_STRATEGY)
        stream = module.compressobj(*settings, before) if before else module.compressobj(*settings)
        deflated: bytes = stream.compress(piece) + stream.flush(module.Z_SYNC_FLUSH)
        return deflated


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a deflate stream, ended by a sync flush so that the next may follow."""

    deflated: bytes
    crc32: int
    size_bytes: int


def deflate_pieces(chunks: Iterable[Chunk], *, engine: Engine, threads: int) -> Iterator[Piece]:
    """Yield one raw deflate stream in pieces, without its ``LAST_BLOCK``."""

    def squeeze(item: tuple[Chunk, bytes]) -> Piece:
        piece, before = item
        return Piece(engine.deflate(piece, before), isal_zlib.crc32(piece), len(piece))

    items = _with_window(chunks)
    if threads <= 1:
        yield from map(squeeze, items)
    else:
        yield from filter(None, ordered_map(squeeze, items, threads=threads))


def _with_window(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, bytes]]:
    before = b""
    for piece in rechunk(chunks, PIECE_BYTES):
        yield piece, before
        before = bytes(piece[-WINDOW_BYTES:])


def join_crc32(crc32: int, piece: Piece) -> int:
    """Return the CRC-32 of everything up to and with ``piece``, given that of what came before it."""
    return isal_zlib.crc32_combine(crc32, piece.crc32, piece.size_bytes)


def one_member(chunks: Iterable[Chunk], *, engine: Engine, threads: int) -> Iterator[bytes]:
    """Yield one gzip member, however long."""
    crc32 = size_bytes = 0
    yield _HEADER
    for piece in deflate_pieces(chunks, engine=engine, threads=threads):
        crc32 = join_crc32(crc32, piece)
        size_bytes += piece.size_bytes
        yield piece.deflated
    yield LAST_BLOCK + struct.pack("<II", crc32, size_bytes & 0xFFFFFFFF)


def many_members(
    chunks: Iterable[Chunk], *, level: int, threads: int, member_bytes: int
) -> Iterator[bytes | bytearray]:
    """Yield a whole gzip member for every ``member_bytes`` of input. ``level`` is libdeflate's, 1 to 12.

    Yields an empty chunk now and then while the next member is not ready.
    """

    def squeeze(piece: Chunk) -> bytearray:
        return deflate.gzip_compress(piece, _STORE if _is_dense(piece) else level)

    empty = True
    for member in ordered_map(squeeze, rechunk(chunks, member_bytes), threads=threads):
        empty = False
        yield member or b""
    if empty:
        yield squeeze(b"")


def _is_dense(piece: Chunk) -> bool:
    view = memoryview(piece)
    return is_incompressible(
        probe(lambda offset, size: view[offset : offset + size], len(view), sample_bytes=_SAMPLE_BYTES)
    )
