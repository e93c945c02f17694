"""Bytes on their way out: stored ones as they are, and what a codec makes of them on the fly."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import BinaryIO

import aiofiles.threadpool

from service.codecs.checksum import Hash, new_checksum
from service.codecs.terms import Chunk

READ_BYTES = 512 * 1024

Convert = Callable[[Iterator[Chunk]], Generator[Chunk]]


async def stored(file: BinaryIO, start: int, end: int) -> AsyncGenerator[bytes]:
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


@dataclass(frozen=True, slots=True)
class Proof:
    """What tells whether all bytes of a stored file are still what was stored."""

    begin: Callable[[], Hash]
    expected: str

    def held_to(self, chunks: Iterable[Chunk]) -> Generator[Chunk]:
        """Yield the chunks, and end only if all together are what was expected.

        Raises:
            DamagedWhile: they are not.
        """
        seen = self.begin()
        for chunk in chunks:
            seen.update(chunk)
            yield chunk
        if seen.hexdigest() != self.expected:
            raise DamagedWhile("a stored file is not what it was when it was stored")


def proof_of(checksum: str | None, sha256: str | None) -> Proof | None:
    """Return the cheapest proof that a row has: files of earlier versions have no checksum, but most a SHA-256."""
    if checksum is not None:
        return Proof(new_checksum, checksum)
    return None if sha256 is None else Proof(hashlib.sha256, sha256)


def last_held_back(chunks: Generator[Chunk]) -> Generator[bytes]:
    """Yield the chunks, the last one only when no error can follow it.

    What is sent is held back, not what is read: a frame may end in a checksum that no byte of the body waits for.
    """
    held = b""
    with closing(chunks):
        for chunk in filter(None, chunks):
            if held:
                yield held
            held = bytes(chunk)
        if held:
            yield held


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's bytes; blocks."""
    return iter(lambda: file.read(READ_BYTES), b"")


async def once(content: bytes) -> AsyncGenerator[bytes]:
    """Yield this."""
    yield content


async def converted(file: BinaryIO, convert: Convert) -> AsyncGenerator[bytes]:
    """Yield what ``convert`` makes of the file, the last of it only when all is made.

    Each step runs in a thread. Closes the file, and ends when nobody reads.
    """
    steps = _Steps(file, convert)
    try:
        while (chunk := await asyncio.to_thread(steps.next)) is not None:
            yield chunk
    finally:
        # Not awaited: who is cut off cannot wait for the step that a thread is at.
        asyncio.get_running_loop().run_in_executor(None, steps.close)


class _Steps:
    """A conversion under way, one step or its end at a time."""

    def __init__(self, file: BinaryIO, convert: Convert) -> None:
        self._file = file
        self._chunks = last_held_back(convert(chunks_of(file)))
        self._lock = Lock()

    def next(self) -> bytes | None:
        """Return the next chunk, None after the last."""
        with self._lock:
            return next(self._chunks, None)

    def close(self) -> None:
        """End it, after the step under way; closes the file."""
        with self._lock, self._file:
            self._chunks.close()
