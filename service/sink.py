"""Where every door's bytes go: ``Incoming`` takes one file's chunks and makes them durable. No HTTP, no SQL.

Chunks are kept in a list and written 1 MiB at a time by one hop to a thread, while the next MiB arrives: at most one
write is under way and one is being gathered. Copying them into one buffer first took twice as long. A small file is
created, written, synced and renamed in a single hop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from storage.file_store import Chunk, FileStore, Key, PartFile, new_source_key

T = TypeVar("T")

GATHER_BYTES = 1024 * 1024
WRITER_THREADS = 16


@dataclass(frozen=True, slots=True)
class Received:
    """One durable file."""

    key: Key
    size_bytes: int
    sha256: str | None
    """Lower-case hex, where it was asked for."""


class Sink:
    """Begins files. Owns the threads that write, so that uploads starve nobody and nobody starves them."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="sink")

    def begin(self, *, wants_digest: bool) -> Incoming:
        """Return a file to be fed. Nothing is created before there is something to write."""
        return Incoming(self, wants_digest=wants_digest)

    async def discard(self, received: list[Received]) -> None:
        """Remove files that will belong to no job."""
        if received:
            await self.call(self._store.delete, [file.key for file in received])

    def create(self) -> PartFile:
        """Create a part file under a new key. Blocks."""
        return self._store.create(new_source_key())

    def call(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Run a blocking function in a thread of the sink."""
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """End the threads, after what they are doing."""
        self._threads.shutdown(wait=True)


class Incoming:
    """One file on its way in. Feed it, then ``finish`` or ``abort``; one task at a time."""

    def __init__(self, sink: Sink, *, wants_digest: bool) -> None:
        self.size_bytes = 0
        self._sink = sink
        self._digest = hashlib.sha256() if wants_digest else None
        self._part: PartFile | None = None
        self._gathered: list[Chunk] = []
        self._gathered_bytes = 0
        self._writing: asyncio.Future[None] | None = None

    def add(self, chunk: Chunk) -> bool:
        """Take a chunk, which must not change any more; return whether ``flush`` is due."""
        size = len(chunk)
        self._gathered.append(chunk)
        self._gathered_bytes += size
        self.size_bytes += size
        return self._gathered_bytes >= GATHER_BYTES

    async def flush(self) -> None:
        """Hand what was gathered to a thread, when the write before is done.

        Raises:
            StorageFull, StorageFailed: a write failed; ``abort`` it.
        """
        if self._writing is not None:
            await self._writing
        chunks, self._gathered, self._gathered_bytes = self._gathered, [], 0
        self._writing = self._sink.call(self._write, chunks)

    async def finish(self) -> Received:
        """Return the file, durable: fsynced, renamed, its folder fsynced.

        Raises:
            StorageFull, StorageFailed: it could not be made so; ``abort`` it.
        """
        if self._writing is not None:
            await self._writing
        return await self._sink.call(self._write_and_commit, self._gathered)

    async def abort(self) -> None:
        """Remove whatever there is of it. Never raises; does nothing after ``finish``."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._writing.exception()
        if self._part is not None:
            await self._sink.call(self._part.abort)

    def _write(self, chunks: list[Chunk]) -> None:
        if self._part is None:
            self._part = self._sink.create()
        if chunks:
            self._part.write(chunks)
        if self._digest is not None:
            for chunk in chunks:
                self._digest.update(chunk)

    def _write_and_commit(self, chunks: list[Chunk]) -> Received:
        self._write(chunks)
        assert self._part is not None
        self._part.commit()
        digest = None if self._digest is None else self._digest.hexdigest()
        return Received(self._part.key, self.size_bytes, digest)
