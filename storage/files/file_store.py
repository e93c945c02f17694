"""The contract of a file store: durable bytes under keys. ``local_files`` implements it for a folder.

A *key* names a stored file: see ``storage.ids``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from storage.errors import StorageError
from storage.ids import Key

Chunk = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One committed file as a sweep sees it."""

    key: Key
    size_bytes: int
    modified_at: float
    """Seconds since 1970, by the store's clock."""


@dataclass(frozen=True, slots=True)
class Space:
    """Room in the store, in bytes."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class NewFile:
    """A small file, whole in memory, that is to be stored."""

    key: Key
    chunks: Sequence[Chunk]


class PartFile(Protocol):
    """A file being written; nobody sees it under its key before ``commit``, nor before all its bytes are durable.

    Owned by one writer at a time, but calls may come from different threads one after the other.
    After any error the file is lost, its part removed, and every call but ``abort`` is StorageFailed. A failed fsync
    is never tried again on the same file, because the kernel may have dropped the pages while reporting success the
    second time.
    """

    @property
    def key(self) -> Key:
        """The key it will have."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        ...

    def write(self, chunks: Sequence[Chunk]) -> None:
        """Append all chunks in order, whole, without copying them together.

        Raises:
            StorageFull: ENOSPC or EDQUOT.
            StorageFailed: any other error of the system.
        """
        ...

    def commit(self) -> None:
        """Make it durable under its key: fsync the file, rename it, fsync the folder; then close it.

        When it returns, the bytes survive a power loss. Never replaces an existing file of that key.

        Raises:
            StorageFull: ENOSPC or EDQUOT.
            StorageFailed: any other error; the part is removed, and the key may be used again only after ``delete``.
        """
        ...

    def abort(self) -> None:
        """Close and remove it. Never raises; does nothing after ``commit`` or a first ``abort``."""
        ...


class Quarantine(Protocol):
    """Files that no row named when somebody looked: kept for a while, in case that a row comes back.

    An older database put beside newer files names fewer of them. What is here can be put back, and goes for good when
    its time is over or its room is needed.
    """

    def take(self, keys: Iterable[Key]) -> int:
        """Set committed files aside, or remove them where nothing is kept; return how many there were.

        Raises:
            StorageLost: the store is not what it was; nothing was touched.
            StorageFailed: some could not be moved; all were tried.
        """
        ...

    def put_back(self, keys: Iterable[Key]) -> int:
        """Make files committed ones again under their keys, unless there is one already; return how many.

        Raises:
            StorageLost, StorageFailed: as ``take``.
        """
        ...

    def files(self) -> Iterator[StoredFile]:
        """Yield what is here; ``modified_at`` is when each was set aside.

        Raises:
            StorageFailed: while iterating; it cannot be listed to its end.
        """
        ...

    def remove_old(self) -> int:
        """Remove for good what has been here for its time; return how many files.

        Raises:
            StorageLost, StorageFailed: as ``take``.
        """
        ...

    def make_room(self, size_bytes: int) -> int:
        """Remove for good what has been here longest, until so many bytes are free; return how many. Never raises."""
        ...


class FileStore(Protocol):
    """Stored files under keys. Safe to call from any thread and from several processes.

    Whatever writes or removes raises StorageLost as ``check`` does, and does nothing then.
    """

    @property
    def quarantine(self) -> Quarantine:
        """Where files go that seem to be nobody's."""
        ...

    def check(self) -> None:
        """Return if the store is still there, and its files are those of this process's database.

        Raises:
            StorageLost: they are not.
        """
        ...

    def create(self, key: Key) -> PartFile:
        """Begin a file.

        Raises:
            StorageFull, StorageFailed: as in ``PartFile.write``; StorageFailed also for a key that has a file or a
                part already (a store that cannot know yet says so in ``commit``).
        """
        ...

    def put_many(self, files: Sequence[NewFile]) -> list[StorageError | None]:
        """Store small files, each as durable as ``PartFile.commit`` makes it; return what went wrong with each.

        What is dear and can be shared is shared, the folder's fsync for one. A file that failed is not left, and does
        the others no harm. Never raises for one file.
        """
        ...

    def open(self, key: Key) -> BinaryIO:
        """Return the committed file for reading, seekable, at its start; the caller closes it.

        A file deleted later stays readable through handles opened before.

        Raises:
            FileMissing: there is none.
            StorageFailed: the system said otherwise.
        """
        ...

    def size_bytes(self, key: Key) -> int:
        """Return the committed file's size.

        Raises:
            FileMissing: there is none.
        """
        ...

    def drop_cached(self, key: Key) -> None:
        """Have what is read next come from the disk and not from memory, as far as the system lets us. Never raises."""
        ...

    def delete(self, keys: Iterable[Key]) -> None:
        """Remove committed files; missing ones are no error. Not synced: a sweep finds what a power loss revives.

        Raises:
            StorageFailed: some could not be removed; all were tried.
        """
        ...

    def hold(self, key: Key) -> None:
        """Say that a source is on its way to a row: ``is_held`` until ``release``, or until this process ends.

        Raises:
            StorageFailed: the system refused.
        """
        ...

    def release(self, keys: Iterable[Key]) -> None:
        """Say that rows name these, or that they are gone; those never held are no error.

        Raises:
            StorageFailed: the system refused.
        """
        ...

    def is_held(self, key: Key) -> bool:
        """Return whether a living process, this one or another, holds it.

        Raises:
            StorageFailed: the system refused.
        """
        ...

    def files(self) -> Iterator[StoredFile]:
        """Yield every committed file, in no order; files made or removed meanwhile may or may not be seen.

        Raises:
            StorageFailed: while iterating; the store cannot be listed to its end.
        """
        ...

    def remove_dead_parts(self) -> int:
        """Remove part files whose writer's process has ended, whoever it was; return how many.

        Parts of living writers, in this process or others, are never touched.

        Raises:
            StorageFailed: some could not be looked at or removed; all were tried.
        """
        ...

    def space(self) -> Space:
        """Return the room there is, as an unprivileged process would see it.

        Raises:
            StorageFailed: the store cannot be reached.
        """
        ...
