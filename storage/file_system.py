"""The system calls the folder store makes, in one object, and what their errors mean.

``LocalFiles`` and its parts call nothing of the file system but this, so that a test can hand them one that records
the order of calls or fails any of them. Most entries are the functions of ``os`` themselves and cost no extra frame.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from storage.errors import StorageError, StorageFailed, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

# What sync_file_range says where it does not exist: an older C library's stub, a sandbox, an odd file system.
_NOT_HERE = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ESPIPE})
_SYNC_FILE_RANGE_WRITE = 2


class FileSystem:
    """The real system calls; each raises OSError as ``os`` does."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    writev = staticmethod(os.writev)
    fsync = staticmethod(os.fsync)
    flock = staticmethod(fcntl.flock)
    fstat = staticmethod(os.fstat)
    lstat = staticmethod(os.lstat)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    statvfs = staticmethod(os.statvfs)

    def __init__(self) -> None:
        # Linux only; elsewhere the final fsync simply has more to do.
        self._sync_file_range = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)

    def scandir(self, folder: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        """Return the names in a folder, read as they are asked for; leaving the context closes it."""
        return os.scandir(folder)

    def open_reader(self, path: str) -> BinaryIO:
        """Open a file for reading, buffered; a symbolic link is refused (ELOOP)."""
        return io.BufferedReader(io.FileIO(path, opener=_open_without_following))

    def drop_cached(self, fd: int) -> None:
        """Give up the clean pages of a file that memory holds. A hint: does nothing where it is unknown."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def begin_writeback(self, fd: int, offset: int, size_bytes: int) -> None:
        """Have the kernel start to write out a range, without waiting. A hint: does nothing where it is unknown.

        Other errors are raised, since a writeback that failed here need not be reported by the fsync to come.
        """
        if self._sync_file_range is None:
            return
        offset_c, size_c = ctypes.c_int64(offset), ctypes.c_int64(size_bytes)
        if self._sync_file_range(fd, offset_c, size_c, ctypes.c_uint(_SYNC_FILE_RANGE_WRITE)):
            number = ctypes.get_errno()
            if number not in _NOT_HERE:
                raise OSError(number, os.strerror(number))
            self._sync_file_range = None


def sync_folder(file_system: FileSystem, folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError.

    The folder is opened anew each time (2 µs, once per group of commits) rather than held open, so that a store whose
    volume was mounted again goes on without a restart.
    """
    fd = file_system.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file_system.fsync(fd)
    finally:
        close_quietly(file_system, fd)


def close_quietly(file_system: FileSystem, fd: int) -> None:
    """Close a descriptor whose bytes are synced, given up or only read: an error of close has nothing to add.

    Linux releases the descriptor even then, so it must not be closed twice.
    """
    with suppress(OSError):
        file_system.close(fd)


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into the room's error, once; ``doing`` says in its text what was tried.

    Raises:
        StorageFull: ENOSPC, EDQUOT.
        StorageFailed: any other OSError.
    """
    try:
        yield
    except OSError as error:
        raise as_storage_error(error, doing) from error


def as_storage_error(error: OSError, doing: str) -> StorageError:
    """Return the room's error for a system's error. Its text names no path."""
    kind = StorageFull if error.errno in _FULL else StorageFailed
    return kind(f"{doing}: {error.strerror or error}")


def _open_without_following(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
