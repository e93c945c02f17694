"""Bytes on their way out: stored ones as they are, and what a codec makes of them on the fly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from threading import Lock
from typing import BinaryIO

import aiofiles.threadpool

from service.checksum import Hash
from service.codec_terms import Chunk

READ_BYTES = 512 * 1024


async def stored(file: BinaryIO, start: int, end: int) -> AsyncIterator[bytes]:
    """Yield the bytes from ``start`` to ``end`` (exclusive); closes the file."""
    reader = aiofiles.threadpool.wrap(file)
    try:
        await reader.seek(start)
        left = end - start
        while left > 0 and (chunk := await reader.read(min(READ_BYTES, left))):
            left -= len(chunk)
            yield chunk
    finally:
        file.close()


class DamagedWhile(Exception):
    """Stored bytes turned out damaged while they were being sent: the answer is broken off, so that it is not whole."""


def held_to(chunks: Iterable[Chunk], seen: Hash, expected: str) -> Iterator[Chunk]:
    """Yield the chunks, the last one only if all together are what was expected.

    Raises:
        DamagedWhile: they are not.
    """
    held: Chunk = b""
    for chunk in chunks:
        seen.update(chunk)
        if held:
            yield held
        held = chunk
    if seen.hexdigest() != expected:
        raise DamagedWhile("a stored file is not what it was when it was stored")
    if held:
        yield held


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's bytes; blocks."""
    return iter(lambda: file.read(READ_BYTES), b"")


async def converted(file: BinaryIO, convert: Callable[[Iterator[Chunk]], Iterator[Chunk]]) -> AsyncIterator[bytes]:
    """Yield what ``convert`` makes of the file, each step in a thread; closes the file, and ends when nobody reads."""
    steps = _Steps(file, convert)
    try:
        while (chunk := await asyncio.to_thread(steps.next)) is not None:
            yield chunk
    finally:
        # Not awaited: who is cut off cannot wait for the step that a thread is at.
        asyncio.get_running_loop().run_in_executor(None, steps.close)


class _Steps:
    """A conversion under way, one step or its end at a time."""

    def __init__(self, file: BinaryIO, convert: Callable[[Iterator[Chunk]], Iterator[Chunk]]) -> None:
        self._file = file
        self._chunks = convert(chunks_of(file))
        self._lock = Lock()

    def next(self) -> bytes | None:
        """Return the next chunk, None after the last."""
        with self._lock:
            chunk = next(self._chunks, None)
        return None if chunk is None else bytes(chunk)

    def close(self) -> None:
        """End it, after the step under way; closes the file."""
        with self._lock, self._file:
            if isinstance(self._chunks, Generator):
                self._chunks.close()
