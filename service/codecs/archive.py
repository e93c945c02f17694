"""Archives of several files in one table: zip, tar.zst, tar.gz. Pure: streams in, one stream out, and back.

Members stand in the order they are given, with one fixed time and mode 0644, so equal members are equal bytes. Names
must come from ``archive_name.archive_names``.
"""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import SEEK_END
from typing import IO, BinaryIO, Protocol, cast

from service.codecs import zip_stream
from service.codecs.archive_member import Member, exactly
from service.codecs.chunks import ChunkReader
from service.codecs.codec import CODECS
from service.codecs.gzip_pieces import Engine
from service.codecs.terms import Chunk, CodecError, Finished, Format, Level, ignore, translated
from service.codecs.zip_member import pack_member

__all__ = ["ARCHIVES", "Archive", "Member"]

READ_BYTES = 1 << 20

_ZIP_ERRORS = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error, struct.error)
"""What ``zipfile`` raises for a spoilt file: besides its own error, those of an unknown method or version, of a flag
that says "encrypted", of a name that is no UTF-8, of data that does not inflate."""


class Archive(Protocol):
    """One format for several files. Stateless and safe to share."""

    @property
    def format(self) -> Format:
        """Its name."""
        ...

    @property
    def suffix(self) -> str:
        """What a file name gains, with its dot."""
        ...

    @property
    def media_type(self) -> str:
        """The registered media type."""
        ...

    def pack(
        self, members: Iterable[Member], *, level: Level, threads: int = 1, finished: Finished = ignore
    ) -> Generator[Chunk]:
        """Yield the archive of ``members``, in their order. Closing the generator ends its threads.

        ``finished`` is told of the members' bytes, not of what the archive adds to them.

        Raises:
            CodecError: a member's bytes are more or fewer than its ``size_bytes``, or others when they are read again.
        """
        ...

    def unpack(self, file: BinaryIO) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Yield each member's name and its bytes, in order; use up one member's bytes before asking for the next.

        ``file`` is at its start and seekable, and is not closed.

        Raises:
            CodecError: the archive is corrupt, cut short, or followed by something else.
        """
        ...


class ZipArchive:
    """Zip: opens by a double click everywhere. Members that compression would not help are stored."""

    format = Format.ZIP
    suffix = ".zip"
    media_type = "application/zip"
    # A member is one deflate stream, so libdeflate's members (ADR 0001) cannot be used. Beside `pigz -p2 -6` on the mix
    # in docs/codecs.md zlib-ng 6 packs 2.9 times as much per CPU second, 0.3 % larger, and 9 1.2 times, 0.3 % smaller.
    engines: Mapping[Level, Engine] = {
        Level.FAST: Engine("isal", 2),
        Level.BALANCED: Engine("zlib-ng", 6),
        Level.SMALL: Engine("zlib-ng", 9),
    }

    def pack(
        self, members: Iterable[Member], *, level: Level, threads: int = 1, finished: Finished = ignore
    ) -> Generator[Chunk]:
        """Yield a zip without seeking, Zip64 only where needed."""
        entries: list[zip_stream.Entry] = []
        offset = 0
        for member in members:
            engine = self.engines[level]
            for part in pack_member(member, offset, engine=engine, threads=threads, finished=finished):
                if isinstance(part, zip_stream.Entry):
                    entries.append(part)
                else:
                    offset += len(part)
                    yield part
        yield zip_stream.central_directory(entries, offset)

    def unpack(self, file: BinaryIO) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Yield what the central directory lists; each member's CRC-32 is checked."""
        with translated(*_ZIP_ERRORS):
            _require_end_record(file)
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    with archive.open(info) as stream:
                        yield info.filename, _read_all(stream)


def _require_end_record(file: BinaryIO) -> None:
    """Refuse what follows the end: ``zipfile`` would search backwards for it, past any garbage."""
    file.seek(0, SEEK_END)
    file.seek(max(0, file.tell() - zip_stream.END_BYTES))
    if not zip_stream.is_end_record(file.read()):
        raise CodecError("The zip does not end with its end record.")


def _read_all(stream: IO[bytes]) -> Iterator[bytes]:
    with translated(*_ZIP_ERRORS, tarfile.TarError):
        while chunk := stream.read(READ_BYTES):
            yield chunk


@dataclass(frozen=True, slots=True)
class TarArchive:
    """A tar (POSIX pax, so any name and size fits) through a codec: smaller than zip for many small files."""

    format: Format
    suffix: str
    media_type: str
    codec_format: Format

    def pack(
        self, members: Iterable[Member], *, level: Level, threads: int = 1, finished: Finished = ignore
    ) -> Generator[Chunk]:
        """Yield a compressed tar: one frame with its content size, or one member."""
        members = list(members)
        spans = _Spans(finished)
        return CODECS[self.codec_format].compress(
            _tar(members, spans),
            level=level,
            threads=threads,
            size_bytes=_tar_bytes(members),
            finished=spans.take,
        )

    def unpack(self, file: BinaryIO) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Yield what the tar holds, read as a stream; then the compressed data must be at its end."""
        reader = ChunkReader(CODECS[self.codec_format].decompress(_read_all(file)))
        with translated(tarfile.TarError), tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|") as archive:
            for info in archive:
                stream = archive.extractfile(info)
                if stream is None:
                    raise CodecError("The tar holds something else than files.")
                yield info.name, _read_all(stream)
        while reader.read(READ_BYTES):
            pass


class _Spans:
    """Turns what a codec says of a tar's bytes into what that means in bytes of its members."""

    def __init__(self, finished: Finished) -> None:
        self._finished = finished
        self._spans: deque[tuple[int, bool]] = deque()

    def add(self, size_bytes: int, *, is_content: bool) -> None:
        """Note what comes next in the tar: a member's bytes, or what is around them."""
        self._spans.append((size_bytes, is_content))

    def take(self, size_bytes: int) -> None:
        """Tell of the members' bytes among the next ``size_bytes`` of the tar."""
        content_bytes = 0
        while size_bytes:
            span_bytes, is_content = self._spans.popleft()
            taken = min(size_bytes, span_bytes)
            content_bytes += taken if is_content else 0
            size_bytes -= taken
            if taken < span_bytes:
                self._spans.appendleft((span_bytes - taken, is_content))
        self._finished(content_bytes)


def _tar(members: list[Member], spans: _Spans) -> Iterator[Chunk]:
    for member in members:
        header, padding = _tar_header(member), bytes(_tar_padding(member))
        spans.add(len(header), is_content=False)
        yield header
        for chunk in exactly(member, member.read):
            spans.add(len(chunk), is_content=True)
            yield chunk
        spans.add(len(padding), is_content=False)
        yield padding
    end = bytes(_tar_end(sum(map(_tar_member_bytes, members))))
    spans.add(len(end), is_content=False)
    yield end


def _tar_bytes(members: list[Member]) -> int:
    written = sum(map(_tar_member_bytes, members))
    return written + _tar_end(written)


def _tar_member_bytes(member: Member) -> int:
    return len(_tar_header(member)) + member.size_bytes + _tar_padding(member)


def _tar_header(member: Member) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size = member.size_bytes
    return info.tobuf(tarfile.PAX_FORMAT)


def _tar_padding(member: Member) -> int:
    return -member.size_bytes % tarfile.BLOCKSIZE


def _tar_end(written: int) -> int:
    """Return how many zeros end a tar of so many bytes: two blocks, and up to a whole record."""
    end = 2 * tarfile.BLOCKSIZE
    return end + -(written + end) % tarfile.RECORDSIZE


ARCHIVES: Mapping[Format, Archive] = {
    archive.format: archive
    for archive in (
        ZipArchive(),
        TarArchive(Format.TAR_ZST, ".tar.zst", "application/zstd", Format.ZSTD),
        TarArchive(Format.TAR_GZ, ".tar.gz", "application/gzip", Format.GZIP),
    )
}
"""Every archive by its format."""
