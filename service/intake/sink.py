"""Where every door's bytes go: ``Incoming`` takes one file's chunks and makes them durable. No HTTP, no SQL.

Chunks are kept in a list and written 1 MiB at a time by one hop to a thread, while the next MiB arrives: at most one
write is under way and one is being gathered. Copying them into one buffer first took twice as long. What comes slowly,
or beside very many others, is written sooner. A small file is stored by the group writer, together with its row.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from service.codecs.checksum import Hash, new_checksum, new_digest
from storage.errors import StorageError
from storage.files.file_store import Chunk, FileStore, NewFile, PartFile
from storage.ids import Key, new_source_key

T = TypeVar("T")

GATHER_BYTES = 1024 * 1024
GATHER_CHUNKS = 1024
"""Also written then: what one ``writev`` takes. A byte that comes alone costs 200 times its size while it waits."""
GATHER_SECONDS = 2.0
"""More than ``SMALL_BYTES`` are written then, whatever is missing of a MiB: an upload that trickles holds little."""
MAX_GATHERED_BYTES = 64 * 1024 * 1024
"""Of all files that arrive. Beyond it each gathers no more than ``SMALL_BYTES``, so that 200 do not hold 200 MiB."""
WRITER_THREADS = 16
SMALL_BYTES = 64 * 1024
"""Up to here a file stays in memory until it is stored together with its row: one hop to a thread, not two."""


@dataclass(frozen=True, slots=True)
class Received:
    """One whole file: durable, or small and about to be, together with the row that names it."""

    key: Key
    size_bytes: int
    sha256: str | None
    """Lower-case hex, where it was asked for."""
    checksum: str
    """As ``service.codecs.checksum``: every file has one, so that what waits on the disk is not trusted blindly."""
    chunks: Sequence[Chunk] | None = None
    """Of a small file that is still to be stored, with its row; None: it is durable."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Other digests that were asked for, in hex, by the names of ``new_digest``."""

    @property
    def digests(self) -> Mapping[str, str]:
        """All digests that were asked for."""
        return self.others if self.sha256 is None else {**self.others, "sha256": self.sha256}

    @property
    def unstored(self) -> list[NewFile]:
        """The file, if it is still to be stored."""
        return [] if self.chunks is None else [NewFile(self.key, self.chunks)]


class Sink:
    """Begins files. Owns the threads that write, so that uploads starve nobody and nobody starves them."""

    def __init__(self, store: FileStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self.clock = clock
        self.gathered_bytes = 0
        """In memory, of all files, until they are handed to a thread."""
        self._threads = ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="sink")

    def begin(self, *, wants_digest: bool, others: Iterable[str] = ()) -> Incoming:
        """Return a file to be fed. Nothing is created before there is something to write.

        ``wants_digest`` asks for the SHA-256, ``others`` for digests by these names of ``new_digest``.
        """
        return Incoming(self, wants_digest=wants_digest, others=others)

    async def discard(self, received: Sequence[Received]) -> None:
        """Remove files that will belong to no job, and hold them no more."""
        if received:
            await self.call(self.delete, [file.key for file in received])

    async def remove(self, keys: list[Key]) -> None:
        """Remove files that no row names any more."""
        await self.call(self._store.delete, keys)

    def release(self, received: Sequence[Received]) -> None:
        """Let sweeps judge these files by their rows alone: they have them, or never will."""
        with suppress(StorageError):
            self._store.release([file.key for file in received if file.chunks is None])

    def create(self) -> PartFile:
        """Create a part file under a new key, held until ``release`` or ``delete``. Blocks."""
        key = new_source_key()
        self._store.hold(key)
        try:
            return self._store.create(key)
        except BaseException:
            self._store.release([key])
            raise

    def delete(self, keys: list[Key]) -> None:
        """Remove committed files, and hold them no more. Blocks."""
        try:
            self._store.delete(keys)
        finally:
            self._store.release(keys)

    def call(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Run a blocking function in a thread of the sink."""
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """End the threads, after what they are doing."""
        self._threads.shutdown(wait=True)


class Incoming:
    """One file on its way in. Feed it, then ``finish`` or ``abort``; one task at a time.

    A task may be cancelled while it waits for a thread; the thread goes on, so ``abort`` waits for it too.
    """

    def __init__(self, sink: Sink, *, wants_digest: bool, others: Iterable[str] = ()) -> None:
        self.size_bytes = 0
        self._sink = sink
        self._checksum = new_checksum()
        self._digest = hashlib.sha256() if wants_digest else None
        self._others = {name: new_digest(name) for name in others}
        self._part: PartFile | None = None
        self._is_committed = False
        self._gathered: list[Chunk] = []
        self._gathered_bytes = 0
        self._gathered_since = 0.0
        self._writing: asyncio.Future[Any] | None = None

    def add(self, chunk: Chunk) -> bool:
        """Take a chunk, which must not change any more; return whether ``flush`` is due."""
        size = len(chunk)
        if not self._gathered:
            self._gathered_since = self._sink.clock()
        self._gathered.append(chunk)
        self._gathered_bytes += size
        self._sink.gathered_bytes += size
        self.size_bytes += size
        return self._is_due()

    def _is_due(self) -> bool:
        if self._gathered_bytes >= GATHER_BYTES or len(self._gathered) >= GATHER_CHUNKS:
            return True
        if self._gathered_bytes <= SMALL_BYTES:
            return False
        is_old = self._sink.clock() - self._gathered_since > GATHER_SECONDS
        return is_old or self._sink.gathered_bytes > MAX_GATHERED_BYTES

    def _taken(self) -> list[Chunk]:
        """Return what was gathered, for others to hold."""
        chunks, self._gathered = self._gathered, []
        self._sink.gathered_bytes -= self._gathered_bytes
        self._gathered_bytes = 0
        return chunks

    async def flush(self) -> None:
        """Hand what was gathered to a thread, when the write before is done.

        Raises:
            StorageFull, StorageFailed: a write failed; ``abort`` it.
        """
        await self._written()
        self._writing = self._sink.call(self._write, self._taken())

    async def finish(self) -> Received:
        """Return the file, durable: fsynced, renamed, its folder fsynced.

        Raises:
            StorageFull, StorageFailed: it could not be made so; ``abort`` it.
        """
        await self._written()
        self._writing = self._sink.call(self._write_and_commit, self._taken())
        await asyncio.wait([self._writing])
        received: Received = self._writing.result()
        self._part = None
        return received

    def finish_later(self) -> Received | None:
        """Return a small file as it is in memory, to be stored with its row; None if it is not so small."""
        if self._part is not None or self._writing is not None or self.size_bytes > SMALL_BYTES:
            return None
        chunks = self._taken()
        self._look_at(chunks)
        return self._received(new_source_key(), chunks)

    def _look_at(self, chunks: Sequence[Chunk]) -> None:
        hashes: list[Hash] = [self._checksum, *self._others.values(), *([] if self._digest is None else [self._digest])]
        for digest in hashes:
            for chunk in chunks:
                digest.update(chunk)

    def _received(self, key: Key, chunks: Sequence[Chunk] | None = None) -> Received:
        sha256 = None if self._digest is None else self._digest.hexdigest()
        others = {name: digest.hexdigest() for name, digest in self._others.items()}
        return Received(key, self.size_bytes, sha256, self._checksum.hexdigest(), chunks, others)

    async def abort(self) -> None:
        """Remove whatever there is of it, durable or not. Never raises; does nothing after ``finish`` returned."""
        self._taken()
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._writing.exception()
        if self._part is not None:
            await self._sink.call(self._remove, self._part)

    async def _written(self) -> None:
        """Wait for the write under way. Not by awaiting it: cancelling the task would cancel the write as well."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._writing.result()

    def _remove(self, part: PartFile) -> None:
        part.abort()
        # It is there if its task was cancelled while it waited for the commit.
        with suppress(StorageError):
            self._sink.delete([part.key])

    def _write(self, chunks: list[Chunk]) -> None:
        if self._part is None:
            self._part = self._sink.create()
        if chunks:
            self._part.write(chunks)
        self._look_at(chunks)

    def _write_and_commit(self, chunks: list[Chunk]) -> Received:
        self._write(chunks)
        assert self._part is not None
        self._part.commit()
        self._is_committed = True
        return self._received(self._part.key)
