"""Stores and codecs that misbehave in one way each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

from service.codec import Chunk, Level
from storage.errors import StorageFailed
from storage.file_store import FileStore, Key, PartFile, Space, StoredFile


class FaultyPart:
    """A part file that changes what is written, or fails to write it."""

    def __init__(self, part: PartFile, change: Callable[[bytes], bytes]) -> None:
        self._part = part
        self._change = change
        self.key = part.key

    @property
    def size_bytes(self) -> int:
        return self._part.size_bytes

    def write(self, chunks: Sequence[Chunk]) -> None:
        self._part.write([self._change(b"".join(chunks))])

    def commit(self) -> None:
        self._part.commit()

    def abort(self) -> None:
        self._part.abort()


class FaultyStore:
    """A file store whose results are written through ``change``, which may raise; deleting may be refused."""

    def __init__(self, store: FileStore, change: Callable[[bytes], bytes], *, refuses_to_delete: bool = False) -> None:
        self._store = store
        self._change = change
        self._refuses_to_delete = refuses_to_delete
        self.open: Callable[[Key], BinaryIO] = store.open
        self.size_bytes: Callable[[Key], int] = store.size_bytes
        self.files: Callable[[], Iterator[StoredFile]] = store.files
        self.remove_dead_parts: Callable[[], int] = store.remove_dead_parts
        self.space: Callable[[], Space] = store.space

    def create(self, key: Key) -> PartFile:
        return FaultyPart(self._store.create(key), self._change)

    def delete(self, keys: Iterable[Key]) -> None:
        keys = list(keys)
        if self._refuses_to_delete and any(key.startswith("s-") for key in keys):
            raise StorageFailed("deleting: read-only")
        self._store.delete(keys)


def as_it_is(content: bytes) -> bytes:
    return content


def flip_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


class FakeCodec:
    """A codec that stores what ``squeeze`` makes of each chunk, and gives it back by ``expand``."""

    suffix = ".fake"
    media_type = "application/x-fake"
    coding: str | None = None

    def __init__(
        self, squeeze: Callable[[bytes], bytes], expand: Callable[[bytes], bytes] = as_it_is, *, of: str = "zstd"
    ) -> None:
        self.format = of
        self.threads_seen: list[int] = []
        self._squeeze = squeeze
        self._expand = expand

    def compress(
        self, chunks: Iterable[Chunk], *, level: Level, threads: int = 1, size_bytes: int | None = None
    ) -> Iterator[Chunk]:
        self.threads_seen.append(threads)
        return (self._squeeze(bytes(chunk)) for chunk in chunks)

    def decompress(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        return (self._expand(bytes(chunk)) for chunk in chunks)

    def is_single_member(self, size_bytes: int, level: Level) -> bool:
        return True


def raising(error: Exception) -> Callable[[bytes], bytes]:
    """Return a function that raises ``error`` whatever it is given."""

    def fail(_: bytes) -> bytes:
        raise error

    return fail
