"""Opening the end of a deflate stream, so that another may follow: how ``gzip_pieces`` makes one of libdeflate's many.

What ends a deflate stream is a flag at the head of its last block (RFC 1951, 3.2.3), and blocks begin at any bit. To
find the last, each is decoded as if it were the last itself, since a decoder tells where it stopped. That takes less
than half as long as libdeflate 6, and a twentieth of libdeflate 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

from zlib_ng import zlib_ng

from service.codecs.terms import Chunk, CodecError

WINDOW_BYTES = 32 << 10
"""Deflate looks back 32 KiB (RFC 1951)."""

_RAW = -15
_ZlibError = cast("type[Exception]", zlib_ng.error)  # The stub calls the class an instance.

_STEP_BYTES = 4 << 10
"""What is decoded at a time: the last step of each block is decoded once more."""

_HEAD_BITS = 3
_STORED = 0
_EMPTY_STORED = b"\x00\x00\xff\xff"
"""Length and its complement: what follows the three zero bits of a stored block's head, from the next byte on."""


def opened(stream: bytes, plain: Chunk) -> bytes:
    """Return a deflate stream of ``plain`` without its end: it ends by a sync flush, at the border of a byte.

    Raises:
        CodecError: ``stream`` is cut short.
    """
    begin = end = done_bytes = 0
    is_last = False
    while not is_last:
        begin = end
        is_last, is_stored = _bits(stream, begin, 1) == 1, _bits(stream, begin + 1, 2) == _STORED
        if is_stored:
            end, block_bytes = _stored(stream, begin)
        else:
            history = bytes(plain[max(0, done_bytes - WINDOW_BYTES) : done_bytes])
            end, block_bytes = _compressed(stream, begin, history)
        done_bytes += block_bytes
    body = bytearray(stream[: -(-end // 8)])
    body[begin // 8] &= ~(1 << begin % 8)
    # The three bits have room in the last byte, or need one more.
    return bytes(body) + (b"" if -end % 8 >= 3 else b"\x00") + _EMPTY_STORED


def _bits(stream: bytes, position: int, count: int) -> int:
    at = position // 8
    return int.from_bytes(stream[at : at + 2], "little") >> position % 8 & (1 << count) - 1


def _stored(stream: bytes, begin: int) -> tuple[int, int]:
    """Return at which bit the stored block at bit ``begin`` ends, and how many bytes it holds."""
    content = -(-(begin + _HEAD_BITS) // 8) + len(_EMPTY_STORED)
    block_bytes = int.from_bytes(stream[content - 4 : content - 2], "little")
    return 8 * (content + block_bytes), block_bytes


def _compressed(stream: bytes, begin: int, history: bytes) -> tuple[int, int]:
    """Return the same of a compressed block."""
    decoder, block_bytes, read_bytes = _decoder(history), 0, 0
    for cut in _as_last(stream, begin):
        before = decoder.copy()
        plain = decoder.decompress(cut)
        block_bytes += len(plain)
        if decoder.eof:
            last = len(cut) - len(decoder.unused_data) - 1
            bits = _bits_that_matter(before, cut[: last + 1], plain)
            return begin + 8 * (read_bytes + last) + bits, block_bytes
        read_bytes += len(cut)
    raise CodecError("A deflate stream ends within a block.")


def _as_last(stream: bytes, begin: int) -> Iterator[bytes]:
    """Yield what stands from bit ``begin`` on, moved to the border of a byte, its first block flagged as the last."""
    flag, shift = 1, begin % 8
    for at in range(begin // 8, len(stream), _STEP_BYTES):
        part = stream[at : at + _STEP_BYTES + 1]
        moved = int.from_bytes(part, "little") >> shift | flag
        yield moved.to_bytes(len(part), "little")[:_STEP_BYTES]
        flag = 0


def _bits_that_matter(before: _Decoder, cut: bytes, plain: bytes) -> int:
    """Return how many bits of the last byte belong to the block: those up to the last that changes what it means."""
    tail = plain[len(before.decompress(cut[:-1])) :]
    return next(bits for bits in range(8, 0, -1) if not _ends_alike(before.copy(), cut[-1] ^ 1 << bits - 1, tail))


def _ends_alike(decoder: _Decoder, byte: int, tail: bytes) -> bool:
    try:
        return decoder.decompress(bytes([byte])) == tail and decoder.eof
    except _ZlibError:
        return False


class _Decoder(Protocol):
    """zlib-ng's, in full: its stub forgets ``copy``."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...

    def copy(self) -> _Decoder: ...


def _decoder(history: bytes) -> _Decoder:
    decoder = zlib_ng.decompressobj(_RAW, zdict=history) if history else zlib_ng.decompressobj(_RAW)
    return cast("_Decoder", decoder)
