"""Zstd frames: decoding in bounded steps, and encoding several frames at once for the slowest level.

Decoding: the library's own stream reader takes a cut frame for a whole one. Here frames are cut at their block borders
(RFC 8878, 3.1.1), because a block never holds more than 128 KiB: so however well the data was compressed, a step yields
at most ``BLOCKS_PER_STEP`` of them.

Encoding: the library's own threads cannot be stopped. Dropping a compressor waits for all it was given, holding the
interpreter: 16 s at level 19, in which no thread of the process can renew a lease. Frames side by side are left within
a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Event

import zstandard

from service.chunks import ChunkReader, rechunk
from service.codec_terms import Chunk, CodecError
from service.ordered import ordered_map

BLOCKS_PER_STEP = 16
WINDOW_LOG_MAX = 23
"""8 MiB: what RFC 9659 lets a browser refuse to exceed. Frames of ours stay below it at every level."""

FRAME_BYTES = 8 << 20
"""Ratio of 32 MiB of text, logs and libraries at 19: frames of 4 MiB 7.58, 8 MiB 7.71, 16 MiB 7.80, one frame 7.78.
Each thread holds one frame, and a file of two frames already keeps two threads busy."""

_GLANCE_BYTES = 256 << 10
"""What is compressed between two looks at whether to stop: 0.1 s at 19."""

_START_BYTES = 5
_CHECKSUM_FLAG = 0b100
_RLE_BLOCK = 1


def encode_frames(chunks: Iterable[Chunk], *, level: int, threads: int) -> Iterator[bytes]:
    """Yield a whole frame, with checksum and content size, for every ``FRAME_BYTES`` of input.

    Yields an empty chunk now and then while the next frame is not ready.
    """
    stop = Event()

    def squeeze(piece: Chunk) -> bytes:
        return _encode_frame(piece, level, stop)

    empty = True
    for frame in ordered_map(squeeze, rechunk(chunks, FRAME_BYTES), threads=threads, stop=stop):
        empty = False
        yield frame or b""
    if empty:
        yield _encode_frame(b"", level, Event())


def _encode_frame(piece: Chunk, level: int, stop: Event) -> bytes:
    """Return one frame; nothing of use once ``stop`` is set, since nobody will take it."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(piece), write_checksum=True, write_content_size=True
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=len(piece))
    parts = [compressor.compress(cut) for cut in rechunk([piece], _GLANCE_BYTES) if not stop.is_set()]
    return b"" if stop.is_set() else b"".join([*parts, compressor.flush()])


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
