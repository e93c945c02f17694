"""A file being written into a folder, and how a sweep tells a dead one from a living one.

A part is ``<key>.part`` beside the file it will become. Its writer holds an exclusive ``flock`` on it from creation
until it has its final name or is gone; the kernel lets go of the lock when the process ends, however it ends. So a
part whose lock can be taken is dead, whatever the clock says, on every file system with ``flock``.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from storage.errors import StorageFailed
from storage.files.file_store import Chunk
from storage.files.file_system import FileSystem, as_storage_error, close_quietly, is_full
from storage.files.folder_sync import FolderSync
from storage.ids import Key

PART_SUFFIX = ".part"

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
# Writable, because some network file systems give an exclusive lock on writable descriptors only.
_INSPECT = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW

# The most buffers one writev takes (IOV_MAX): 1024 on Linux and the BSDs.
MAX_BUFFERS = os.sysconf("SC_IOV_MAX")

# Each time so much has been written the kernel is told to start writing it out, so that the final fsync finds the
# disk nearly done. 1 GiB in pieces of 1 MiB, write and fsync, medians of 4 interleaved runs (2 cores, ext4 on a
# virtual disk, Linux 6.18): 1.03 s without, 0.67 s with 8 MiB (4: 0.64, 16: 0.70, 32: 0.72, 128: 0.87); at an
# arrival of 500 MiB/s the wait for fsync after the last byte fell from 0.61 to 0.01 s. CPU and page cache unchanged.
# fallocate first (0.91 s) does not pay beside this, and holds room for bytes that may never come.
WRITEBACK_BYTES = 8 * 1024 * 1024

ROOM_BYTES = 64 * 1024 * 1024
"""Room that is made at a time on a full disk: each time costs a listing of what can go."""


class LocalPart:
    """A ``PartFile`` in a folder. Any error removes it at once; room on a full disk is free again immediately."""

    def __init__(
        self, file_system: FileSystem, folder: FolderSync, key: Key, path: str, make_room: Callable[[int], int]
    ) -> None:
        """Create ``path + ".part"``, empty, mode 0600 and locked.

        ``make_room`` is asked for so many bytes when the disk is full, and returns how many it has freed.

        Raises:
            StorageFull: ENOSPC or EDQUOT.
            StorageFailed: the key is taken by a file or a part, or the system refused.
        """
        self.key = key
        self.size_bytes = 0
        self._kicked_bytes = 0
        self._file_system = file_system
        self._folder = folder
        self._make_room = make_room
        self._final_path = path
        self._path = path + PART_SUFFIX
        self._fd = -1
        try:
            self._fd = self._with_room(lambda: _create_locked(file_system, self._path))
            self._refuse_taken_key()
        except OSError as error:
            self.abort()
            raise as_storage_error(error, f"creating {key}") from error

    def write(self, chunks: Sequence[Chunk]) -> None:
        """As ``PartFile.write``: one writev for up to ``MAX_BUFFERS`` chunks unless the system writes short."""
        self._refuse_if_closed()
        views = [memoryview(chunk).cast("B") for chunk in chunks if memoryview(chunk).nbytes]
        try:
            while views:
                views = _after(views, self._write_some(views[:MAX_BUFFERS]))
            self._begin_writeback()
        except OSError as error:
            self.abort()
            raise as_storage_error(error, f"writing {self.key}") from error

    def commit(self) -> None:
        """As ``PartFile.commit``; the folder's fsync is shared with other threads' commits.

        fsync and not fdatasync: a new file's size and blocks have to reach the journal in either case, so fdatasync
        saves nothing (468 against 460 µs for a whole 4 KiB commit, within noise), and the time stamp that sweeps go
        by, the mode and the owner are durable too.
        """
        self.sync()
        self.take_name()
        self.settle([self])

    def sync(self) -> None:
        """Do the first third of ``commit``: the bytes are durable, under the part's name; raises as it."""
        self._refuse_if_closed()
        try:
            self._file_system.fsync(self._fd)
        except OSError as error:
            self.abort()
            raise as_storage_error(error, f"committing {self.key}") from error

    def take_name(self) -> None:
        """Do the second third of ``commit``: the rename; raises as it. ``settle`` does the last."""
        self._refuse_if_closed()
        try:
            # A plain rename, though it would replace: the name was free after our part existed, only the holder of
            # the part may take it, and O_EXCL lets one writer have the part. link and unlink, or renameat2 with
            # RENAME_NOREPLACE, cost the same (467 against 481 µs a commit, within noise) but are missing on some
            # file systems and would need this as their fallback.
            self._file_system.rename(self._path, self._final_path)
            self._path = self._final_path
        except OSError as error:
            self.abort()
            raise as_storage_error(error, f"committing {self.key}") from error

    @staticmethod
    def settle(parts: Sequence[LocalPart]) -> None:
        """Do the last third of ``commit`` for parts of one folder that have their names: one fsync of it for all.

        Raises:
            StorageFull, StorageFailed: all of them are removed again, under their final names.
        """
        if not parts:
            return
        try:
            parts[0]._folder.sync()
        except OSError as error:
            for part in parts:
                part.abort()
            raise as_storage_error(error, f"committing {parts[0].key}") from error
        for part in parts:
            part._close()

    def abort(self) -> None:
        """As ``PartFile.abort``. What cannot be unlinked is found dead by the next sweep."""
        if self._fd < 0:
            return
        with suppress(OSError):
            self._file_system.unlink(self._path)
        self._close()

    def _refuse_if_closed(self) -> None:
        if self._fd < 0:
            raise StorageFailed(f"{self.key} is no longer being written")

    def _refuse_taken_key(self) -> None:
        try:
            self._file_system.lstat(self._final_path)
        except FileNotFoundError:
            return
        raise FileExistsError(errno.EEXIST, "the key has a file already")

    def _write_some(self, views: list[memoryview]) -> int:
        written = self._with_room(lambda: self._file_system.writev(self._fd, views))
        if not written:
            # Never seen, but a file system that says so would keep the caller here for ever.
            raise OSError(errno.EIO, "nothing was written")
        self.size_bytes += written
        return written

    def _with_room(self, call: Callable[[], int]) -> int:
        """Return what ``call`` returns; while the disk is full and room can be made, make some and call again."""
        while True:
            try:
                return call()
            except OSError as error:
                if not is_full(error) or not self._make_room(ROOM_BYTES):
                    raise

    def _begin_writeback(self) -> None:
        fresh_bytes = self.size_bytes - self._kicked_bytes
        if fresh_bytes >= WRITEBACK_BYTES:
            self._file_system.begin_writeback(self._fd, self._kicked_bytes, fresh_bytes)
            self._kicked_bytes = self.size_bytes

    def _close(self) -> None:
        # Forgotten first: no later call may meet another file that got the same number.
        fd, self._fd = self._fd, -1
        close_quietly(self._file_system, fd)


def remove_if_dead(file_system: FileSystem, path: str) -> bool:
    """Remove a part nobody writes; return whether it was removed. Raises OSError.

    Between opening it and getting its lock, its writer may have renamed it or another sweep removed it, and the name
    may even belong to a new part by then: so the name is looked at again under the lock. As long as we hold that
    lock nobody else changes the name, because writers and sweeps both do so only with the lock held.
    """
    try:
        fd = file_system.open(path, _INSPECT)
    except FileNotFoundError:
        return False
    try:
        file_system.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened, named = file_system.fstat(fd), file_system.lstat(path)
        if (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino):
            return False
        file_system.unlink(path)
    except (BlockingIOError, FileNotFoundError):
        return False
    else:
        return True
    finally:
        close_quietly(file_system, fd)


def _create_locked(file_system: FileSystem, path: str) -> int:
    """Return a descriptor of a new, locked file.

    A sweep may find the file before it is locked, and remove it. It then holds the lock for microseconds, hence the
    blocking call; the file without a name that is left is given up and another one made.
    """
    while True:
        fd = file_system.open(path, _CREATE, 0o600)
        try:
            file_system.flock(fd, fcntl.LOCK_EX)
            if file_system.fstat(fd).st_nlink:
                return fd
        except BaseException:
            with suppress(OSError):
                file_system.unlink(path)
            close_quietly(file_system, fd)
            raise
        close_quietly(file_system, fd)


def _after(views: list[memoryview], written: int) -> list[memoryview]:
    """Return what is left of the views once their first ``written`` bytes are written; no bytes are copied."""
    for number, view in enumerate(views):
        if written < view.nbytes:
            return [view[written:], *views[number + 1 :]]
        written -= view.nbytes
    return []
