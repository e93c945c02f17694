"""The ``FileStore`` for a folder: one flat folder, a committed file ``<key>``, a file being written ``<key>.part``.

Which bytes are where, and how a file begins and ends, is told here; how one is written stands in ``local_part``, how
commits share the folder's fsync in ``folder_sync``. Only this module makes paths, and only out of checked keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from storage.errors import FileMissing, StorageError
from storage.files.file_store import NewFile, Space, StoredFile
from storage.files.file_system import FileSystem, make_folder, storage_errors, try_all
from storage.files.folder_sync import FolderSync
from storage.files.local_part import PART_SUFFIX, LocalPart, remove_if_dead
from storage.files.local_quarantine import KEEP_SECONDS, LocalQuarantine
from storage.files.under_way import UnderWay
from storage.ids import KEY_PATTERN, Key


class LocalFiles:
    """Stored files in a folder of a file system with ``flock`` and atomic ``rename``.

    Safe from any thread and from several processes on the same folder. Methods that take a key raise ValueError for
    one that ``KEY_PATTERN`` does not match: that is a mistake in the program, never in what a client sent.
    """

    def __init__(
        self,
        root: Path,
        *,
        file_system: FileSystem | None = None,
        check: Callable[[], None] | None = None,
        quarantine_seconds: float = KEEP_SECONDS,
    ) -> None:
        """Use ``root``; make it and missing parents, mode 0700, durably.

        ``check`` is ``FileOwner.check``; without it this store can store, read, and delete by key, and sweeps nothing.

        Raises:
            StorageFull, StorageFailed: the folder cannot be made, or ``root`` is something else.
        """
        self._file_system = file_system or FileSystem()
        self._root = root.absolute()
        self._prefix = os.path.join(self._root, "")  # noqa: PTH118 - paths are made once per call, as plain text
        self._folder = FolderSync(self._file_system, self._root)
        self._under_way = UnderWay(self._root)
        with storage_errors("making the folder"):
            make_folder(self._file_system, self._root)
        self._check = check
        self.quarantine = LocalQuarantine(self._file_system, self._root, self._check_owner, quarantine_seconds)

    def check(self) -> None:
        """As ``FileStore.check``."""
        if self._check is not None:
            self._check()

    def create(self, key: Key) -> LocalPart:
        """As ``FileStore.create``. A key with a file or a part, even a dead one, is refused with StorageFailed."""
        self.check()
        return self._part(key)

    def put_many(self, files: Sequence[NewFile]) -> list[StorageError | None]:
        """As ``FileStore.put_many``: all are written, then all fsynced, then all named; one fsync of the folder.

        In this order the disk has most of the work before the first fsync waits for it.
        """
        self.check()
        outcomes: list[StorageError | None] = [None] * len(files)
        parts: dict[int, LocalPart] = {}

        def attempt(step: Callable[[int], None]) -> None:
            for place in [place for place, outcome in enumerate(outcomes) if outcome is None]:
                try:
                    step(place)
                except StorageError as error:
                    outcomes[place] = error
                    parts.pop(place, None)

        def write(place: int) -> None:
            parts[place] = self._part(files[place].key)
            parts[place].write(files[place].chunks)

        attempt(write)
        attempt(lambda place: parts[place].sync())
        attempt(lambda place: parts[place].take_name())
        try:
            LocalPart.settle(list(parts.values()))
        except StorageError as error:
            for place in parts:
                outcomes[place] = error
        return outcomes

    def open(self, key: Key) -> BinaryIO:
        """As ``FileStore.open``. The handle is buffered; reads of more than the buffer pass it by."""
        path = self._path(key)
        with storage_errors(f"opening {key}"):
            try:
                return self._file_system.open_reader(path)
            except FileNotFoundError as error:
                raise FileMissing(key) from error

    def size_bytes(self, key: Key) -> int:
        """As ``FileStore.size_bytes``; other errors of the system are StorageFailed."""
        path = self._path(key)
        with storage_errors(f"measuring {key}"):
            try:
                return self._file_system.lstat(path).st_size
            except FileNotFoundError as error:
                raise FileMissing(key) from error

    def drop_cached(self, key: Key) -> None:
        """As ``FileStore.drop_cached``. Pages that are not on the disk yet stay."""
        path = self._path(key)
        with suppress(OSError), self._file_system.open_reader(path) as file:
            self._file_system.drop_cached(file.fileno())

    def delete(self, keys: Iterable[Key]) -> None:
        """As ``FileStore.delete``."""
        self.check()
        try_all(self._unlink, [self._path(key) for key in keys], "deleting")

    def hold(self, key: Key) -> None:
        """As ``FileStore.hold``."""
        with storage_errors(f"holding {key}"):
            self._under_way.hold(key)

    def release(self, keys: Iterable[Key]) -> None:
        """As ``FileStore.release``."""
        with storage_errors("releasing"):
            self._under_way.release(keys)

    def is_held(self, key: Key) -> bool:
        """As ``FileStore.is_held``; exact, by the locks of living processes, with no clock."""
        with storage_errors(f"asking for {key}"):
            return self._under_way.holds(key)

    def files(self) -> Iterator[StoredFile]:
        """As ``FileStore.files``. Names that are no keys are passed over, and so is what is no regular file."""
        with storage_errors("listing"), self._file_system.scandir(self._root) as entries:
            for entry in entries:
                if KEY_PATTERN.fullmatch(entry.name) and (found := self._look_at(Key(entry.name))):
                    yield found

    def remove_dead_parts(self) -> int:
        """As ``FileStore.remove_dead_parts``; exact, by the locks of living writers, with no clock."""
        self.check()
        with storage_errors("listing"), self._file_system.scandir(self._root) as entries:
            paths = [entry.path for entry in entries if _is_part(entry)]
        return try_all(lambda path: remove_if_dead(self._file_system, path), paths, "removing a dead part")

    def space(self) -> Space:
        """As ``FileStore.space``; quotas are not seen here, only met (EDQUOT) when writing."""
        with storage_errors("measuring space"):
            found = self._file_system.statvfs(self._root)
        return Space(
            free_bytes=found.f_bavail * found.f_frsize,
            total_bytes=found.f_blocks * found.f_frsize,
        )

    def _part(self, key: Key) -> LocalPart:
        return LocalPart(self._file_system, self._folder, key, self._path(key), self.quarantine.make_room)

    def _check_owner(self) -> None:
        if self._check is None:
            raise ValueError("this store was opened without its owner, who alone may say that a file is nobody's")
        self._check()

    def _path(self, key: Key) -> str:
        if not KEY_PATTERN.fullmatch(key):
            raise ValueError(f"not a key: {key!r}")
        return self._prefix + key

    def _unlink(self, path: str) -> bool:
        try:
            self._file_system.unlink(path)
        except FileNotFoundError:
            return False
        return True

    def _look_at(self, key: Key) -> StoredFile | None:
        with suppress(FileNotFoundError):
            found = self._file_system.lstat(self._path(key))
            if S_ISREG(found.st_mode):
                return StoredFile(key, found.st_size, found.st_mtime)
        return None


def _is_part(entry: os.DirEntry[str]) -> bool:
    key, suffix = entry.name[: -len(PART_SUFFIX)], entry.name[-len(PART_SUFFIX) :]
    return suffix == PART_SUFFIX and KEY_PATTERN.fullmatch(key) is not None and entry.is_file(follow_symlinks=False)
