"""Writing a result into the file store, gathered on the way."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from service.codecs.codec import Chunk
from storage.files.file_store import FileStore, PartFile
from storage.ids import Key

GATHER_BYTES = 1 << 20
"""Bytes that go to the file system in one call."""


def write_result(store: FileStore, key: Key, chunks: Generator[Chunk]) -> int:
    """Store all chunks durably under ``key`` and return how many bytes; nothing is left after an error.

    The chunks are closed in any case.

    Raises:
        StorageFull, StorageFailed: as ``FileStore``.
        Exception: whatever the chunks raise.
    """
    with closing(chunks):
        part = store.create(key)
        try:
            _write(part, chunks)
            part.commit()
        except BaseException:
            part.abort()
            raise
    return part.size_bytes


def _write(part: PartFile, chunks: Generator[Chunk]) -> None:
    gathered: list[Chunk] = []
    gathered_bytes = 0
    for chunk in chunks:
        gathered.append(chunk)
        gathered_bytes += len(chunk)
        if gathered_bytes >= GATHER_BYTES:
            part.write(gathered)
            gathered, gathered_bytes = [], 0
    part.write(gathered)
