"""What one attempt computes: sources in, one stored and proven result out. No database, and no job but its own.

A single source is probed, compressed, or kept as it came; several become an archive. In every case the stored bytes
are read back by ``result_proof`` before this returns.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass

from service.codecs.archive import Archive, Member
from service.codecs.archive_name import archive_names
from service.codecs.codec import Chunk, Codec, Format, Level
from service.codecs.probe import is_incompressible, probe
from service.work.attempt import Attempt
from service.work.result_proof import Digests, ExpectedMember, prove_archive, prove_file
from service.work.result_writer import write_result
from service.work.scan import Scanner, scan_sources
from service.work.source_reader import SourceReader, open_source, read_some
from storage.files.file_store import FileStore
from storage.ids import Key, result_key
from storage.jobs.job_attempts import ClaimedJob, ClaimedSource, StoredResult
from storage.lifecycle import Phase

AUTO = "auto"
AS_IT_CAME = "identity"
"""The result format of a source that was kept: HTTP's word for a coding that changes nothing."""

SLOWEST_DISK_BYTES_PER_SECOND = 4e6
"""Storing ends with one fsync, which tells of nothing until all is on the disk: an old USB stick takes so many."""

_UNKNOWN_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Tools:
    """What an attempt works with."""

    store: FileStore
    codecs: Mapping[Format, Codec]
    archives: Mapping[Format, Archive]
    scanner: Scanner | None = None
    """None: uploads are not scanned."""


@dataclass(frozen=True, slots=True)
class Made:
    """A stored, proven result, and the SHA-256 of every source in order."""

    result: StoredResult
    digests: tuple[str, ...]


def make_result(tools: Tools, job: ClaimedJob, attempt: Attempt) -> Made:
    """Make the result of a job under ``result_key(job.id, job.epoch)``, or keep its only source as it came.

    After an error a result may be left under that key: the caller deletes it.

    Raises:
        AttemptFailed: a source is missing or damaged, or was not found clean, or the result does not give the sources
            back.
        AttemptStopped: as ``Attempt.check``.
        CodecError, StorageFull, StorageFailed, OSError, MemoryError: what they say.
    """
    if tools.scanner is not None:
        scan_sources(tools.scanner, tools.store, job, attempt)
    if len(job.sources) > 1 or job.format in tools.archives:
        return _make_archive(tools, job, attempt)
    if job.format == AUTO:
        return _make_smallest(tools, job, attempt)
    size_bytes, reader = _compress(tools, job, attempt, Format(job.format))
    return _prove(tools, job, attempt, Format(job.format), size_bytes, reader.sha256)


def _make_smallest(tools: Tools, job: ClaimedJob, attempt: Attempt) -> Made:
    source = job.sources[0]
    attempt.enter(Phase.PROBING)
    if _is_incompressible(tools.store, source):
        attempt.enter(Phase.DIGESTING)
        reader = SourceReader(tools.store, source, on_read=attempt.step)
        for chunk in reader:
            attempt.advance(len(chunk))
            attempt.check()
        return _keep(source, job.name, reader)
    size_bytes, reader = _compress(tools, job, attempt, Format.ZSTD)
    if size_bytes >= source.size_bytes:
        tools.store.delete([result_key(job.id, job.epoch)])
        return _keep(source, job.name, reader)
    return _prove(tools, job, attempt, Format.ZSTD, size_bytes, reader.sha256)


def _is_incompressible(store: FileStore, source: ClaimedSource) -> bool:
    with open_source(store, source) as file:

        def read_at(offset: int, size_bytes: int) -> bytes:
            file.seek(offset)
            return read_some(file, size_bytes)

        return is_incompressible(probe(read_at, source.size_bytes))


def _keep(source: ClaimedSource, name: str, reader: SourceReader) -> Made:
    result = StoredResult(
        key=source.key,
        name=name,
        format=AS_IT_CAME,
        media_type=source.media_type or _UNKNOWN_MEDIA_TYPE,
        coding=None,
        size_bytes=source.size_bytes,
        sha256=reader.sha256,
        checksum=reader.checksum,
        stored_as_is=True,
    )
    return Made(result, (reader.sha256,))


def _compress(tools: Tools, job: ClaimedJob, attempt: Attempt, target: Format) -> tuple[int, SourceReader]:
    source = job.sources[0]
    reader = SourceReader(tools.store, source, on_read=attempt.step)
    compressed = tools.codecs[target].compress(
        reader,
        level=Level(job.level),
        threads=attempt.threads,
        size_bytes=source.size_bytes,
        finished=attempt.advance,
    )
    return _write(tools, job, attempt, compressed), reader


def _write(tools: Tools, job: ClaimedJob, attempt: Attempt, compressed: Generator[Chunk]) -> int:
    """Store what a codec or archive yields. After an error no part of it is left when the codec is waited for."""

    def checked() -> Generator[Chunk]:
        attempt.enter(Phase.COMPRESSING)
        for chunk in compressed:
            # Slow levels yield empty chunks just for this.
            attempt.check()
            if chunk:
                attempt.step()
                yield chunk
        attempt.enter(Phase.STORING, bytes_done=job.size_bytes)
        attempt.allow(job.size_bytes / SLOWEST_DISK_BYTES_PER_SECOND)

    with closing(compressed):
        return write_result(tools.store, result_key(job.id, job.epoch), checked())


def _prove(tools: Tools, job: ClaimedJob, attempt: Attempt, target: Format, size_bytes: int, sha256: str) -> Made:
    codec, key = tools.codecs[target], result_key(job.id, job.epoch)
    attempt.enter(Phase.VERIFYING)
    with tools.store.open(key) as file:
        stored = prove_file(file, codec, sha256, attempt)
    result = _stored(key, job.name + codec.suffix, codec, size_bytes, stored, coding=codec.coding)
    return Made(result, (sha256,))


def _stored(
    key: Key, name: str, kind: Codec | Archive, size_bytes: int, stored: Digests, *, coding: str | None
) -> StoredResult:
    return StoredResult(
        key=key,
        name=name,
        format=kind.format,
        media_type=kind.media_type,
        coding=coding,
        size_bytes=size_bytes,
        sha256=stored.sha256,
        checksum=stored.checksum,
        stored_as_is=False,
    )


def _make_archive(tools: Tools, job: ClaimedJob, attempt: Attempt) -> Made:
    target = Format.ZIP if job.format == AUTO else Format(job.format)
    archive, key = tools.archives[target], result_key(job.id, job.epoch)
    names = archive_names([source.name for source in job.sources])
    readers = [SourceReader(tools.store, source, on_read=attempt.step) for source in job.sources]
    members = [
        Member(name, source.size_bytes, reader.__iter__, reader.look)
        for name, source, reader in zip(names, job.sources, readers, strict=True)
    ]
    packed = archive.pack(members, level=Level(job.level), threads=attempt.threads, finished=attempt.advance)
    size_bytes = _write(tools, job, attempt, packed)
    digests = tuple(reader.sha256 for reader in readers)
    attempt.enter(Phase.VERIFYING)
    with tools.store.open(key) as file:
        stored = prove_archive(file, archive, list(map(ExpectedMember, names, digests)), attempt)
    name = job.name if job.name.lower().endswith(archive.suffix) else job.name + archive.suffix
    return Made(_stored(key, name, archive, size_bytes, stored, coding=None), digests)
