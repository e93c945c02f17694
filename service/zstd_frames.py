"""Decoding zstd frames in bounded steps. The library's own stream reader takes a cut frame for a whole one.

Frames are cut at their block borders (RFC 8878, 3.1.1), because a block never holds more than 128 KiB: so however well
the data was compressed, a step yields at most ``BLOCKS_PER_STEP`` of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import zstandard

from service.chunks import ChunkReader
from service.codec_terms import Chunk, CodecError

BLOCKS_PER_STEP = 16
WINDOW_LOG_MAX = 23
"""8 MiB: what RFC 9659 lets a browser refuse to exceed. Frames of ours stay below it at every level."""

_START_BYTES = 5
_CHECKSUM_FLAG = 0b100
_RLE_BLOCK = 1


def decode_frames(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Yield what all frames hold, at most 2 MiB at a time.

    Raises:
        CodecError: there is no frame, one is cut short, or something else follows.
        zstandard.ZstdError: a frame is corrupt or needs a window of more than 8 MiB.
    """
    reader = ChunkReader(chunks)
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG_MAX)
    if not reader.has_more():
        raise CodecError("The compressed data is empty.")
    while reader.has_more():
        yield from _decode_frame(reader, decompressor)


def _decode_frame(reader: ChunkReader, decompressor: zstandard.ZstdDecompressor) -> Iterator[bytes]:
    decoder = decompressor.decompressobj()
    for step in _steps(_frame_parts(reader)):
        if out := decoder.decompress(step):
            yield out
    if not decoder.eof:
        raise CodecError("A zstd frame does not end where its blocks do.")


def _steps(parts: Iterable[Chunk]) -> Iterator[bytes]:
    """Join parts of a frame, as many at a time as hold ``BLOCKS_PER_STEP`` blocks or fewer."""
    parts = iter(parts)
    while step := b"".join(islice(parts, 2 * BLOCKS_PER_STEP)):
        yield step


def _frame_parts(reader: ChunkReader) -> Iterator[Chunk]:
    """Yield one frame cut into its header, its blocks, and its checksum."""
    start = bytes(reader.take(_START_BYTES))
    yield start + bytes(reader.take(zstandard.frame_header_size(start) - _START_BYTES))
    last = False
    while not last:
        head = bytes(reader.take(3))
        block = int.from_bytes(head, "little")
        last = bool(block & 1)
        yield head
        yield reader.take(1 if block >> 1 & 3 == _RLE_BLOCK else block >> 3)
    if start[4] & _CHECKSUM_FLAG:
        yield reader.take(4)
