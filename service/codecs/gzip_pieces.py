"""Deflate by several threads: one stream, and one gzip member, built from pieces.

Each piece is ended by a sync flush, and given the 32 KiB before it as a dictionary, so that the pieces are one stream.
Readers that people use take the first of several gzip members for the whole, without an error: there is but one
(``docs/adr/0010-one-member-one-frame.md``). No levels or formats are named here; ``codec`` and ``archive`` choose.
Headers carry no time and no name, so equal bytes in are equal bytes out (RFC 1952).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import deflate
from isal import isal_zlib
from zlib_ng import zlib_ng

from service.codecs.chunks import rechunk
from service.codecs.open_deflate import WINDOW_BYTES, opened
from service.codecs.ordered import ordered_map
from service.codecs.probe import is_incompressible, probe
from service.codecs.terms import Chunk, Finished, ignore

PIECE_BYTES = 1 << 20
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
LAST_BLOCK = b"\x03\x00"
"""An empty final block: what ends a deflate stream whose pieces all end by a sync flush."""


_RAW = -15
"""zlib's word for a bare deflate stream with a window of 32 KiB."""

_MEMORY_LEVEL = 8
"""For zlib-ng; 9 gave 0.2 to 0.3 % more output on text, logs and libraries."""

_SAMPLE_BYTES = 4 << 10
"""Sixteen of these cost 2 % of compressing a piece by libdeflate 6. Random bytes then take a fifth of the time."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A deflate library and its level."""

    library: Literal["isal", "zlib-ng", "libdeflate"]
    level: int
    """isal: 0 to 3, zlib-ng: 1 to 9, libdeflate: 1 to 12. isal 0 and zlib-ng 1 make random bytes larger by 23 and 5 %:
    not for use."""

    def deflate(self, piece: Chunk, before: bytes) -> bytes:
        """Return ``piece`` deflated as what follows ``before``, ended by a sync flush.

        libdeflate cannot look into what was before; that costs 0.1 % and less.
        """
        if self.library == "libdeflate":
            return opened(bytes(deflate.deflate_compress(piece, self.level)), piece)
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


_NOTHING = Piece(b"", 0, 0)

QUICK = Engine("isal", 2)
"""Six times as quick as the next in CPU time, and random bytes become no larger."""


def deflate_pieces(
    chunks: Iterable[Chunk], *, engine: Engine, threads: int, finished: Finished = ignore
) -> Iterator[Piece]:
    """Yield one raw deflate stream in pieces, without its ``LAST_BLOCK``.

    Yields an empty piece, which changes nothing, now and then while the next is not ready.
    """

    def squeeze(item: tuple[Chunk, bytes]) -> Piece:
        piece, before = item
        return Piece(_deflate(piece, before, engine), isal_zlib.crc32(piece), len(piece))

    items = _with_window(chunks)
    for piece in map(squeeze, items) if threads <= 1 else ordered_map(squeeze, items, threads=threads):
        if piece is not None:
            finished(piece.size_bytes)
        yield piece or _NOTHING


def _deflate(piece: Chunk, before: bytes, engine: Engine) -> bytes:
    """Return ``piece`` deflated, by the quick engine where a better one would gain nothing.

    Samples cannot see what repeats at a distance. So what they take for random is judged by what the quick engine makes
    of it, and that is at hand then.
    """
    if engine != QUICK and _looks_dense(piece):
        deflated = QUICK.deflate(piece, before)
        if is_incompressible(len(deflated) / len(piece)):
            return deflated
    return engine.deflate(piece, before)


def _looks_dense(piece: Chunk) -> bool:
    view = memoryview(piece)
    return is_incompressible(
        probe(lambda offset, size: view[offset : offset + size], len(view), sample_bytes=_SAMPLE_BYTES)
    )


def _with_window(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, bytes]]:
    before = b""
    for piece in rechunk(chunks, PIECE_BYTES):
        yield piece, before
        before = bytes(piece[-WINDOW_BYTES:])


def join_crc32(crc32: int, piece: Piece) -> int:
    """Return the CRC-32 of everything up to and with ``piece``, given that of what came before it."""
    return isal_zlib.crc32_combine(crc32, piece.crc32, piece.size_bytes)


def one_member(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yield one gzip member, however long. Its length is written modulo 2^32, as RFC 1952 has it."""
    crc32 = size_bytes = 0
    yield _HEADER
    for piece in pieces:
        crc32 = join_crc32(crc32, piece)
        size_bytes += piece.size_bytes
        yield piece.deflated
    yield LAST_BLOCK + struct.pack("<II", crc32, size_bytes & 0xFFFFFFFF)
