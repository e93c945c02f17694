"""The ``Quarantine`` of a folder of files: a folder ``quarantine`` in it, so that a rename is all it takes.

A file keeps its name, which is its key, and its time stamp. When it was set aside tells the time of its last change of
status, which a rename sets (ext4, XFS, btrfs, ZFS, tmpfs) and nobody can set back; a copy of the folder begins anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from storage.errors import StorageError
from storage.files.file_store import StoredFile
from storage.files.file_system import FileSystem, storage_errors, try_all
from storage.ids import KEY_PATTERN, Key

FOLDER = "quarantine"
"""No key looks like it."""
KEEP_SECONDS = 24 * 3600


class LocalQuarantine:
    """Files set aside in a folder of the store. Safe from any thread and from several processes."""

    def __init__(
        self,
        file_system: FileSystem,
        root: Path,
        check: Callable[[], None],
        keep_seconds: float,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``check`` raises StorageLost where nothing may be touched; ``keep_seconds`` of 0 keeps nothing."""
        self._file_system = file_system
        self._root = root
        self._folder = root / FOLDER
        self._check = check
        self._keep_seconds = keep_seconds
        self._now = now

    def take(self, keys: Iterable[Key]) -> int:
        """As ``Quarantine.take``. An older file of the same key that is here already makes way."""
        self._check()
        step = self._set_aside if self._keep_seconds else self._remove_committed
        return try_all(step, map(_checked, keys), "setting aside")

    def put_back(self, keys: Iterable[Key]) -> int:
        """As ``Quarantine.put_back``. A row names a key only when its file is stored, so nobody else makes it now."""
        self._check()
        return try_all(self._put_back, map(_checked, keys), "putting back")

    def files(self) -> Iterator[StoredFile]:
        """As ``Quarantine.files``."""
        with storage_errors("listing what was set aside"), suppress(FileNotFoundError):
            with self._file_system.scandir(self._folder) as entries:
                names = [entry.name for entry in entries if KEY_PATTERN.fullmatch(entry.name)]
            for name in names:
                if found := self._look_at(name):
                    yield found

    def remove_old(self) -> int:
        """As ``Quarantine.remove_old``."""
        self._check()
        newest = self._now() - self._keep_seconds
        old = [file.key for file in self.files() if file.modified_at <= newest]
        return try_all(self._remove, old, "emptying the quarantine")

    def make_room(self, size_bytes: int) -> int:
        """As ``Quarantine.make_room``."""
        freed_bytes = 0
        with suppress(StorageError, OSError, ValueError):
            self._check()
            for file in sorted(self.files(), key=lambda file: file.modified_at):
                if freed_bytes >= size_bytes:
                    break
                freed_bytes += file.size_bytes * self._remove(file.key)
        return freed_bytes

    def _set_aside(self, name: str) -> bool:
        try:
            self._file_system.rename(self._root / name, self._folder / name)
        except FileNotFoundError:
            if not self._is_there(self._root / name):
                return False
            with suppress(FileExistsError):
                self._file_system.mkdir(self._folder, 0o700)
            self._file_system.rename(self._root / name, self._folder / name)
        return True

    def _put_back(self, name: str) -> bool:
        if self._is_there(self._root / name):
            return False
        try:
            self._file_system.rename(self._folder / name, self._root / name)
        except FileNotFoundError:
            return False
        return True

    def _remove(self, name: str) -> bool:
        return self._unlink(self._folder / name)

    def _remove_committed(self, name: str) -> bool:
        return self._unlink(self._root / name)

    def _unlink(self, path: Path) -> bool:
        try:
            self._file_system.unlink(path)
        except FileNotFoundError:
            return False
        return True

    def _is_there(self, path: Path) -> bool:
        try:
            self._file_system.lstat(path)
        except FileNotFoundError:
            return False
        return True

    def _look_at(self, name: str) -> StoredFile | None:
        try:
            found = self._file_system.lstat(self._folder / name)
        except FileNotFoundError:
            return None
        return StoredFile(Key(name), found.st_size, _set_aside_at(found)) if S_ISREG(found.st_mode) else None


def _set_aside_at(found: os.stat_result) -> float:
    return found.st_ctime


def _checked(key: Key) -> str:
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError(f"not a key: {key!r}")
    return key
