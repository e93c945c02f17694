"""Bytes on their way out: stored ones as they are, and what a codec makes of them on the fly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import BinaryIO

import aiofiles.threadpool

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


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's bytes; blocks."""
    return iter(lambda: file.read(READ_BYTES), b"")


async def converted(file: BinaryIO, convert: Callable[[Iterator[Chunk]], Iterator[Chunk]]) -> AsyncIterator[bytes]:
    """Yield what ``convert`` makes of the file, each step in a thread; closes the file, and ends when nobody reads."""
    steps = convert(chunks_of(file))
    try:
        while (chunk := await asyncio.to_thread(next, steps, None)) is not None:
            yield bytes(chunk)
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            await asyncio.to_thread(close)
        file.close()
