"""The codecs in one table: zstd, gzip, brotli, xz. Pure: bytes in, bytes out; no files, no settings, no database.

The worker squeezes a source through ``compress`` and reads the result back through ``decompress``; ``web/results``
gives the original by ``decompress`` and other formats by ``transcode``. Archives of several files live in ``archive``,
the guess whether compressing pays in ``probe``.

    for chunk in CODECS[Format.ZSTD].compress(chunks, level=Level.BALANCED, threads=2, size_bytes=size):
        part.write([chunk])

Everything is a generator that pulls: the caller's input iterator is the place to count, hash and check for cancelling,
and closing the generator ends its threads. Equal bytes, level and size give equal bytes out, whatever the threads and
however the input was cut.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, cast

import brotli
import deflate
import zstandard
from isal import igzip_lib

from service.chunks import rechunk
from service.codec_terms import Chunk, CodecError, Format, Level, translated
from service.gzip_pieces import Engine, many_members, one_member
from service.zstd_frames import decode_frames, encode_frames

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
        self, chunks: Iterable[Chunk], *, level: Level, threads: int = 1, size_bytes: int | None = None
    ) -> Iterator[Chunk]:
        """Yield the compressed stream of ``chunks``, with a checksum where the format has one.

        Chunks may be empty: where a level needs longer than about half a second for what it was given, they only
        hand control back, so that the caller can look whether to go on.

        ``threads`` (at least 1) is the most that work at a time; it never changes the output. ``size_bytes``, where
        known, is written into formats that have a place for it.

        Raises:
            CodecError: there are more or fewer bytes than ``size_bytes``, where the format notices.
        """
        ...

    def decompress(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        """Yield the bytes that were compressed, in steps of at most 2 MiB however well they were compressed.

        Raises:
            CodecError: the data is corrupt, cut short, empty, or followed by something else. What was yielded before
                that is not to be trusted.
        """
        ...

    def is_single_member(self, size_bytes: int, level: Level) -> bool:
        """Say whether what ``compress`` makes of ``size_bytes`` bytes may be sent as ``Content-Encoding``.

        Browsers and most HTTP libraries decode the first of several joined gzip members and drop the rest.
        """
        ...


class ZstdCodec:
    """Zstandard (RFC 8878): the default. Windows of at most 8 MiB, so that browsers may decode it (RFC 9659)."""

    format = Format.ZSTD
    suffix = ".zst"
    media_type = "application/zstd"
    coding: str | None = "zstd"
    # Ratio of the mix in docs/codecs.md: 2.41, 2.53, 2.66; two threads of an idle machine reach 330, 60 and 4 MB/s.
    # Levels from 20 on ask for windows of 32 MiB and more.
    levels: Mapping[Level, int] = {Level.FAST: 3, Level.BALANCED: 9, Level.SMALL: 19}
    # What one of the library's threads compresses at a time. Its own choice is 8 and 16 MiB. At 9, 4 MiB takes 57 MiB
    # of memory instead of 139 for 0.05 % more output, and closing waits 0.15 s for what is in work.
    job_bytes: Mapping[Level, int] = {Level.FAST: 8 << 20, Level.BALANCED: 4 << 20}

    def compress(
        self, chunks: Iterable[Chunk], *, level: Level, threads: int = 1, size_bytes: int | None = None
    ) -> Iterator[Chunk]:
        """Yield one frame with checksum, and with its content size where that is known; at ``small`` several."""
        with translated(zstandard.ZstdError):
            if level is Level.SMALL:
                yield from encode_frames(chunks, level=self.levels[level], threads=threads)
                return
            chunker = self._compressor(level, threads, size_bytes or 0).chunker(
                size=-1 if size_bytes is None else size_bytes, chunk_size=STEP_BYTES
            )
            for chunk in chunks:
                yield from chunker.compress(chunk)
            yield from chunker.finish()  # type: ignore[no-untyped-call]  # The stub forgets its return type.

    def _compressor(self, level: Level, threads: int, source_size: int) -> zstandard.ZstdCompressor:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.levels[level],
            source_size=source_size,
            # Zero threads take another path in the library, which gives other bytes; 1, 2 and 4 give the same.
            threads=max(1, threads),
            job_size=self.job_bytes[level],
            write_checksum=True,
            write_content_size=True,
        )
        return zstandard.ZstdCompressor(compression_params=parameters)

    def decompress(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        """Yield what all frames hold."""
        with translated(zstandard.ZstdError):
            yield from decode_frames(chunks)

    def is_single_member(self, size_bytes: int, level: Level) -> bool:
        """Return True: joined frames are decoded whole by Chromium, curl and the HTTP libraries."""
        return True


class GzipCodec:
    """Gzip (RFC 1952): opens anywhere."""

    format = Format.GZIP
    suffix = ".gz"
    media_type = "application/gzip"
    coding: str | None = "gzip"
    # Beside `pigz -p2 -6` on the mix in docs/codecs.md (ADR 0001): isal 2 in pieces packs 13 times as much per CPU
    # second, 6 % larger; libdeflate 6 in members 3.1 times, 0.1 % smaller; libdeflate 10 a quarter, 2.2 % smaller.
    # libdeflate 12 takes twice as long as 10 for another 0.4 %.
    fast_engine = Engine("isal", 2)
    member_levels: Mapping[Level, int] = {Level.BALANCED: 6, Level.SMALL: 10}
    # Between 1 and 8 MiB the ratio moves by 0.02 % (small: 0.2 %). The larger a member, the more results are a single
    # one; the smaller, the less memory (each thread and two that wait hold one in and out) and the sooner closing is
    # done: a member in work takes 0.1 s at balanced and 0.4 s at small.
    member_bytes: Mapping[Level, int] = {Level.BALANCED: 4 << 20, Level.SMALL: 2 << 20}

    def compress(
        self, chunks: Iterable[Chunk], *, level: Level, threads: int = 1, size_bytes: int | None = None
    ) -> Iterator[Chunk]:
        """Yield one member at ``fast``, and one for every ``member_bytes`` at the other levels."""
        with translated(IsalError, deflate.DeflateError):
            if level is Level.FAST:
                yield from one_member(chunks, engine=self.fast_engine, threads=threads)
            else:
                yield from many_members(
                    chunks, level=self.member_levels[level], threads=threads, member_bytes=self.member_bytes[level]
                )

    def decompress(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        """Yield what all members hold; CRC-32 and length of each are checked."""
        with translated(IsalError, EOFError):
            yield from _decode(lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), chunks)

    def is_single_member(self, size_bytes: int, level: Level) -> bool:
        """Say whether one member holds it all."""
        return level is Level.FAST or size_bytes <= self.member_bytes[level]


class BrotliCodec:
    """Brotli (RFC 7932): for what browsers will fetch. One thread, no checksum, no magic number."""

    format = Format.BROTLI
    suffix = ".br"
    media_type = "application/x-brotli"
    coding: str | None = "br"
    levels: Mapping[Level, int] = {Level.FAST: 4, Level.BALANCED: 5, Level.SMALL: 9}
    window_log = 22

    def compress(
        self, chunks: Iterable[Chunk], *, level: Level, threads: int = 1, size_bytes: int | None = None
    ) -> Iterator[Chunk]:
        """Yield one stream."""
        with translated(brotli.error):
            compressor = brotli.Compressor(quality=self.levels[level], lgwin=self.window_log)
            for piece in rechunk(chunks, STEP_BYTES):
                yield compressor.process(piece)
            yield compressor.finish()

    def decompress(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
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

    def is_single_member(self, size_bytes: int, level: Level) -> bool:
        """Return True: it is one stream."""
        return True


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
        self, chunks: Iterable[Chunk], *, level: Level, threads: int = 1, size_bytes: int | None = None
    ) -> Iterator[Chunk]:
        """Yield one stream."""
        with translated(lzma.LZMAError):
            compressor = lzma.LZMACompressor(check=lzma.CHECK_CRC64, preset=self.levels[level])
            for piece in rechunk(chunks, GLANCE_BYTES):
                yield compressor.compress(piece)
            yield compressor.flush()

    def decompress(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        """Yield what all streams hold."""
        with translated(lzma.LZMAError):
            yield from _decode(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), chunks)

    def is_single_member(self, size_bytes: int, level: Level) -> bool:
        """Return True: it is one stream."""
        return True


CODECS: Mapping[Format, Codec] = {codec.format: codec for codec in (ZstdCodec(), GzipCodec(), BrotliCodec(), XzCodec())}
"""Every codec by its format. The archives of ``Format`` stand in ``archive.ARCHIVES``."""


def transcode(chunks: Iterable[Chunk], source: Codec, target: Codec, level: Level = Level.FAST) -> Iterator[Chunk]:
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
