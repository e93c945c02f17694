"""Stores and codecs that misbehave in one way each."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from service.codecs.codec import Chunk, Level
from service.codecs.terms import Finished, ignore
from storage.errors import StorageFailed
from storage.files.local_files import LocalFiles
from storage.files.local_part import LocalPart
from storage.ids import Key


class FaultyStore(LocalFiles):
    """A folder whose files are written through ``change``, which may raise; deleting sources may be refused."""

    def __init__(self, root: Path, change: Callable[[bytes], bytes], *, refuses_to_delete: bool = False) -> None:
        super().__init__(root, check=lambda: None)
        self._change = change
        self._refuses_to_delete = refuses_to_delete

    def create(self, key: Key) -> LocalPart:
        part = super().create(key)
        write = part.write
        part.write = lambda chunks: write([self._change(b"".join(chunks))])  # type: ignore[method-assign]  # a fault
        return part

    def delete(self, keys: Iterable[Key]) -> None:
        keys = list(keys)
        if self._refuses_to_delete and any(key.startswith("s-") for key in keys):
            raise StorageFailed("deleting: read-only")
        super().delete(keys)


class MisrememberingStore(LocalFiles):
    """A folder of whose files memory holds something else than the disk, until it is dropped."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, check=lambda: None)
        self._is_wrong = True

    def open(self, key: Key) -> BinaryIO:
        with super().open(key) as file:
            content = file.read()
        return io.BytesIO(flip_a_byte(content) if self._is_wrong else content)

    def drop_cached(self, key: Key) -> None:
        self._is_wrong = False


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
        self,
        chunks: Iterable[Chunk],
        *,
        level: Level,
        threads: int = 1,
        size_bytes: int | None = None,
        finished: Finished = ignore,
    ) -> Generator[Chunk]:
        self.threads_seen.append(threads)
        for chunk in chunks:
            yield self._squeeze(bytes(chunk))
            finished(len(chunk))

    def decompress(self, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        return (self._expand(bytes(chunk)) for chunk in chunks)


class EarlyCodec(FakeCodec):
    """A codec that takes the first chunk for the whole file."""

    def compress(self, chunks: Iterable[Chunk], **options: Any) -> Iterator[Chunk]:
        return super().compress(islice(chunks, 1), **options)


def raising(error: Exception) -> Callable[[bytes], bytes]:
    """Return a function that raises ``error`` whatever it is given."""

    def fail(_: bytes) -> bytes:
        raise error

    return fail
