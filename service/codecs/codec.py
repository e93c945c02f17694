"""The codecs in one table: zstd, gzip, brotli, xz. Pure: bytes in, bytes out; no files, no settings, no database.

The worker squeezes a source through ``compress`` and reads the result back through ``decompress``; ``web/results``
gives the original by ``decompress`` and other formats by ``transcode``. Archives of several files live in ``archive``,
the guess whether compressing pays in ``probe``.

    for chunk in CODECS[Format.ZSTD].compress(chunks, level=Level.BALANCED, threads=2, size_bytes=size):
        part.write([chunk])

Everything is a generator that pulls: the caller's input iterator is the place to count and hash, every chunk that comes
out one to look whether to go on, and closing the generator ends its threads. Equal bytes, level and size give equal
bytes out, whatever the threads and however the input was cut.

What ``compress`` makes is one gzip member, one zstd frame, one brotli or xz stream, however long, because readers that
people use take the first of several for the whole (ADR 0010). What earlier versions stored as several is still read.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Protocol, cast

import brotli
import deflate
import zstandard
from isal import igzip_lib

from service.codecs.chunks import rechunk
from service.codecs.gzip_pieces import QUICK, Engine, deflate_pieces, one_member
from service.codecs.terms import Chunk, CodecError, Finished, Format, Level, ignore, translated
from service.codecs.zstd_frames import Encoding, decode_frames, encode_frame

__all__ = ["CODECS", "Chunk", "Codec", "CodecError", "Format", "Level", "transcode"]

IsalError = cast("type[Exception]", igzip_lib.IsalError)  # The stub calls the class an instance.

STEP_BYTES = 1 << 20
"""Most that one step of decoding gives at once (zstd and brotli: twice that)."""


GLANCE_BYTES = 256 << 10
"""What xz, at 2 MB/s, compresses before it gives control back."""


class Codec(Protocol):
    """One format for one file.

    Stateless and safe to share; each generator belongs to one thread at a time. Errors of the input iterator pass
    through unchanged; everything else is a ``CodecError``.
    """

    format: Format
    suffix: str
    """What a file name gains, with its dot."""
    media_type: str
    coding: str | None
    """The HTTP content coding, None where there is none (RFC 9110, 8.4.1)."""

    def compress(
        self,
        chunks: Iterable[Chunk],
        *,
        level: Level,
        threads: int = 1,
        size_bytes: int | None = None,
        finished: Finished = ignore,
    ) -> Generator[Chunk]:
        """Yield the compressed stream of ``chunks``, with a checksum where the format has one.

        Chunks may be empty: where a level needs longer than about half a second for what it was given, they only
        hand control back, so that the caller can look whether to go on.

        ``threads`` (at least 1) is the most that work at a time; it never changes the output. ``size_bytes``, where
        known, is written into formats that have a place for it. ``finished`` is told how far it is.

        Raises:
            CodecError: there are more or fewer bytes than ``size_bytes``, where the format notices.
        """
        ...

    def decompress(self, chunks: Iterable[Chunk]) -> Generator[bytes]:
        """Yield the bytes that were compressed, in steps of at most 2 MiB however well they were compressed.

        Raises:
            CodecError: the data is corrupt, cut short, empty, or followed by something else. What was yielded before
                that is not to be trusted.
        """
        ...


class ZstdCodec:
    """Zstandard (RFC 8878): the default. Windows of at most 8 MiB, so that browsers may decode it (RFC 9659)."""

    format = Format.ZSTD
    suffix = ".zst"
    media_type = "application/zstd"
    coding: str | None = "zstd"
    # Levels from 20 on ask for windows of 32 MiB and more.
    #
    # Jobs: the library's own are of 8 and 16 MiB. At 9, 4 MiB takes 57 MiB of memory instead of 139 for 0.05 % more
    # output. At 19, 4 MiB makes 1.0 % more than 8 MiB (ADR 0010), but a file of 5 MiB keeps two threads busy, and
    # leaving it costs each 2 s of CPU instead of 4; a whole window of overlap, the library's own choice there, takes
    # 66 % longer than an eighth and gains nothing.
    encodings: Mapping[Level, Encoding] = {
        Level.FAST: Encoding(3, job_bytes=8 << 20),
        Level.BALANCED: Encoding(9, job_bytes=4 << 20),
        Level.SMALL: Encoding(19, job_bytes=4 << 20, overlap_log=6, is_slow=True),
    }

    def compress(
        self,
        chunks: Iterable[Chunk],
        *,
        level: Level,
        threads: int = 1,
        size_bytes: int | None = None,
        finished: Finished = ignore,
    ) -> Generator[Chunk]:
        """Yield one frame with checksum, and with its content size where that is known."""
        with translated(zstandard.ZstdError):
            yield from encode_frame(
                chunks, self.encodings[level], threads=threads, size_bytes=size_bytes, finished=finished
            )

    def decompress(self, chunks: Iterable[Chunk]) -> Generator[bytes]:
        """Yield what all frames hold."""
        with translated(zstandard.ZstdError):
            yield from decode_frames(chunks)


class GzipCodec:
    """Gzip (RFC 1952): opens anywhere."""

    format = Format.GZIP
    suffix = ".gz"
    media_type = "application/gzip"
    coding: str | None = "gzip"
    # Beside `pigz -p2 -6` on the mix in docs/codecs.md (ADR 0010): isal 2 packs 13 times as much per CPU second, 6 %
    # larger; libdeflate 6 2.2 times, no larger; libdeflate 10 a third, 2.2 % smaller. libdeflate 11 takes 40 % longer
    # than 10 for another 0.1 %, zlib-ng 7 60 % longer than libdeflate 6 for 0.3 %.
    engines: Mapping[Level, Engine] = {
        Level.FAST: QUICK,
        Level.BALANCED: Engine("libdeflate", 6),
        Level.SMALL: Engine("libdeflate", 10),
    }

    def compress(
        self,
        chunks: Iterable[Chunk],
        *,
        level: Level,
        threads: int = 1,
        size_bytes: int | None = None,
        finished: Finished = ignore,
    ) -> Generator[Chunk]:
        """Yield one member."""
        with translated(IsalError, deflate.DeflateError):
            engine = self.engines[level]
            yield from one_member(deflate_pieces(chunks, engine=engine, threads=threads, finished=finished))

    def decompress(self, chunks: Iterable[Chunk]) -> Generator[bytes]:
        """Yield what all members hold; CRC-32 and length of each are checked."""
        with translated(IsalError, EOFError):
            yield from _decode(lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), chunks)


class BrotliCodec:
    """Brotli (RFC 7932): for what browsers will fetch. One thread, no checksum, no magic number."""

    format = Format.BROTLI
    suffix = ".br"
    media_type = "application/x-brotli"
    coding: str | None = "br"
    levels: Mapping[Level, int] = {Level.FAST: 4, Level.BALANCED: 5, Level.SMALL: 9}
    window_log = 22

    def compress(
        self,
        chunks: Iterable[Chunk],
        *,
        level: Level,
        threads: int = 1,
        size_bytes: int | None = None,
        finished: Finished = ignore,
    ) -> Generator[Chunk]:
        """Yield one stream."""
        with translated(brotli.error):
            compressor = brotli.Compressor(quality=self.levels[level], lgwin=self.window_log)
            for piece in rechunk(chunks, STEP_BYTES):
                yield compressor.process(piece)
                finished(len(piece))
            yield compressor.finish()

    def decompress(self, chunks: Iterable[Chunk]) -> Generator[bytes]:
        """Yield what the one stream holds."""
        decoder = brotli.Decompressor()
        with translated(brotli.error):
            for chunk in chunks:
                out = decoder.process(chunk, output_buffer_limit=STEP_BYTES)
                while out:
                    yield out
                    # The decoder may hold output while it says that it would take more input: ask until it is dry.
                    out = b"" if decoder.is_finished() else decoder.process(b"", output_buffer_limit=STEP_BYTES)
        if not decoder.is_finished():
            raise CodecError("The compressed data is cut short.")


class XzCodec:
    """Xz: for keeping. One thread, CRC-64; not an HTTP content coding."""

    format = Format.XZ
    suffix = ".xz"
    media_type = "application/x-xz"
    coding: str | None = None
    # Presets 7, 8 and 9 differ from 6 by their dictionary of 16, 32 and 64 MiB alone, and take 186, 370 and 674 MiB to
    # compress (xz's manual): 9 could end a small machine.
    levels: Mapping[Level, int] = {Level.FAST: 1, Level.BALANCED: 6, Level.SMALL: 7}

    def compress(
        self,
        chunks: Iterable[Chunk],
        *,
        level: Level,
        threads: int = 1,
        size_bytes: int | None = None,
        finished: Finished = ignore,
    ) -> Generator[Chunk]:
        """Yield one stream."""
        with translated(lzma.LZMAError):
            compressor = lzma.LZMACompressor(check=lzma.CHECK_CRC64, preset=self.levels[level])
            for piece in rechunk(chunks, GLANCE_BYTES):
                yield compressor.compress(piece)
                finished(len(piece))
            yield compressor.flush()

    def decompress(self, chunks: Iterable[Chunk]) -> Generator[bytes]:
        """Yield what all streams hold."""
        with translated(lzma.LZMAError):
            yield from _decode(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), chunks)


CODECS: Mapping[Format, Codec] = {codec.format: codec for codec in (ZstdCodec(), GzipCodec(), BrotliCodec(), XzCodec())}
"""Every codec by its format. The archives of ``Format`` stand in ``archive.ARCHIVES``."""


def transcode(chunks: Iterable[Chunk], source: Codec, target: Codec, level: Level = Level.FAST) -> Generator[Chunk]:
    """Yield a stream of ``source`` as one of ``target``, in the caller's thread and in bounded memory.

    Raises:
        CodecError: as ``decompress`` does; by then part of the output has been yielded, so cut the connection.
    """
    return target.compress(source.decompress(chunks), level=level, threads=1)


class _Decoder(Protocol):
    """What ``lzma`` and ``igzip_lib`` have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: Chunk, max_length: int = -1, /) -> bytes: ...


def _decode(make_decoder: Callable[[], _Decoder], chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Yield what one or more joined streams hold, at most ``STEP_BYTES`` at a time."""
    decoder, ended = make_decoder(), False
    for chunk in chunks:
        data: Chunk = chunk
        while data or not (ended or decoder.needs_input):
            if ended:
                decoder, ended = make_decoder(), False
            if out := decoder.decompress(data, STEP_BYTES):
                yield out
            ended = decoder.eof
            data = decoder.unused_data if ended else b""
    if not ended:
        raise CodecError("The compressed data is cut short.")
