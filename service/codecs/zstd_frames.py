"""One zstd frame each way: encoded by the library's own threads, and decoded in bounded steps.

Encoding: one frame, however long, because readers that people use take the first of several for the whole (ADR 0010).
The library's threads cannot be stopped: dropping a compressor waits for all that they were given, and holds the
interpreter meanwhile: 8.7 s at level 19, in which no thread of the process could renew a lease. So a frame that is left
is flushed first, which lets the others run, and a slow level is given no more than its threads can begin with.

Decoding: the library's own stream reader takes a cut frame for a whole one. Here frames are cut at their block borders
(RFC 8878, 3.1.1), because a block never holds more than 128 KiB: so however well the data was compressed, a step yields
at most ``BLOCKS_PER_STEP`` of them. Several frames are read too: earlier versions wrote them at ``small``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import zstandard

from service.codecs.chunks import ChunkReader, rechunk
from service.codecs.terms import Chunk, CodecError, Finished

BLOCKS_PER_STEP = 16
WINDOW_LOG_MAX = 23
"""8 MiB: what RFC 9659 lets a browser refuse to exceed. Frames of ours stay below it at every level."""

FEED_BYTES = 256 << 10
"""What is handed to the library between two looks at whether to go on."""

_OUT_BYTES = 64 << 10
"""Ending a frame gives control back whenever so much of it is ready: every 0.3 s at 19."""

_GLANCE_SECONDS = 0.02
"""Between two looks whether a slow level can take more. A thread of it works on one job for about a second."""

_START_BYTES = 5
_CHECKSUM_FLAG = 0b100
_RLE_BLOCK = 1


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one frame is made."""

    level: int
    job_bytes: int
    """What one thread compresses at a time. It shapes the output, the number of threads does not."""
    overlap_log: int = 0
    """How much of the bytes before it a job looks back into: 9 is a whole window, each step less a half; 0 leaves it to
    the library."""
    is_slow: bool = False
    """The threads need a second or so for one job: hand over no more than they have room for."""

    def compressor(self, *, threads: int, size_bytes: int | None) -> zstandard.ZstdCompressor:
        """Return what makes one frame with checksum, and with its content size where that is known."""
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.level,
            source_size=size_bytes or 0,
            # Zero threads take another path in the library, which gives other bytes; 1, 2 and 4 give the same.
            threads=max(1, threads),
            job_size=self.job_bytes,
            overlap_log=self.overlap_log,
            write_checksum=True,
            write_content_size=True,
        )
        return zstandard.ZstdCompressor(compression_params=parameters)


def encode_frame(
    chunks: Iterable[Chunk], encoding: Encoding, *, threads: int, size_bytes: int | None, finished: Finished
) -> Iterator[bytes]:
    """Yield one frame. Yields an empty chunk now and then where a slow level is not ready for more.

    Closing it waits for what the threads have in work, and lets other threads run meanwhile.

    Raises:
        zstandard.ZstdError: there are more or fewer bytes than ``size_bytes``.
    """
    compressor = encoding.compressor(threads=threads, size_bytes=size_bytes)
    chunker = compressor.chunker(size=-1 if size_bytes is None else size_bytes, chunk_size=_OUT_BYTES)
    progress = _Progress(compressor, finished)
    room_bytes = max(1, threads) * encoding.job_bytes if encoding.is_slow else sys.maxsize
    ending: Iterator[bytes] = iter(())
    try:
        for piece in rechunk(chunks, FEED_BYTES):
            # Taken whole before any of it is passed on: it cannot be flushed while it holds input.
            yield b"".join(chunker.compress(piece))
            while progress.tell() > room_bytes:
                yield b""
                time.sleep(_GLANCE_SECONDS)
        ending = chunker.finish()  # type: ignore[no-untyped-call]  # The stub forgets its return type.
        for out in ending:
            progress.tell()
            yield out
    finally:
        _let_end(chunker, ending)
    progress.tell()


class _Progress:
    """Tells ``finished`` what the library's threads have compressed since it was last told."""

    def __init__(self, compressor: zstandard.ZstdCompressor, finished: Finished) -> None:
        self._compressor = compressor
        self._finished = finished
        self._told_bytes = 0

    def tell(self) -> int:
        """Tell it, and return how many bytes the library holds that are not compressed yet."""
        ingested, consumed, _ = self._compressor.frame_progression()
        if consumed > self._told_bytes:
            told, self._told_bytes = self._told_bytes, consumed
            self._finished(consumed - told)
        return ingested - consumed


def _let_end(chunker: zstandard.ZstdCompressionChunker, ending: Iterator[bytes]) -> None:
    """Return when no thread works on the frame, having let all other threads of this process run meanwhile."""
    # An ended frame refuses to be flushed, and so does one with the wrong number of bytes.
    with suppress(zstandard.ZstdError):
        for _ in ending:
            pass
        for _ in chunker.flush():  # type: ignore[no-untyped-call]
            pass


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
