"""Writing a result into the file store, gathered and hashed on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from service.codec import Chunk
from storage.file_store import FileStore, Key, PartFile

GATHER_BYTES = 1 << 20
"""Bytes that go to the file system in one call."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """What was stored."""

    size_bytes: int
    sha256: str


def write_result(store: FileStore, key: Key, chunks: Generator[Chunk]) -> WrittenFile:
    """Store all chunks durably under ``key`` and return what that makes; nothing is left after an error.

    Whatever the key held is removed first: a power loss may bring back a file of an epoch whose claim it lost. The
    chunks are closed in any case.

    Raises:
        StorageFull, StorageFailed: as ``FileStore``.
        Exception: whatever the chunks raise.
    """
    with closing(chunks):
        store.delete([key])
        part = store.create(key)
        try:
            sha256 = _write(part, chunks)
            part.commit()
        except BaseException:
            part.abort()
            raise
    return WrittenFile(part.size_bytes, sha256)


def _write(part: PartFile, chunks: Generator[Chunk]) -> str:
    digest = hashlib.sha256()
    gathered: list[Chunk] = []
    gathered_bytes = 0
    for chunk in chunks:
        digest.update(chunk)
        gathered.append(chunk)
        gathered_bytes += len(chunk)
        if gathered_bytes >= GATHER_BYTES:
            part.write(gathered)
            gathered, gathered_bytes = [], 0
    part.write(gathered)
    return digest.hexdigest()
