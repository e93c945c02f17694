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
from collections.abc import Callable, Iterable, Iterator
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


def make_folder(file_system: FileSystem, folder: Path) -> None:
    """Make a folder and its parents, durably; raises OSError. A file is only as durable as the names above it.

    So the parent is synced each time. If the folder was there that is a courtesy, for a process that died between
    making and syncing it: a mount point, or a parent that only its owner may read, must not fail the start.
    """
    try:
        file_system.mkdir(folder, 0o700)
    except FileNotFoundError:
        make_folder(file_system, folder.parent)
        make_folder(file_system, folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
        with suppress(OSError):
            sync_folder(file_system, folder.parent)
    else:
        sync_folder(file_system, folder.parent)


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


def is_full(error: OSError) -> bool:
    """Return whether the system says that there is no room, or no more for this user."""
    return error.errno in _FULL


def as_storage_error(error: OSError, doing: str) -> StorageError:
    """Return the room's error for a system's error. Its text names no path."""
    kind = StorageFull if is_full(error) else StorageFailed
    return kind(f"{doing}: {error.strerror or error}")


def try_all(step: Callable[[str], bool], names: Iterable[str], doing: str) -> int:
    """Return for how many names ``step`` was true; after an error go on with the others, then raise the first."""
    done = 0
    first_error: OSError | None = None
    for name in names:
        try:
            done += step(name)
        except OSError as error:
            first_error = first_error or error
    if first_error:
        raise as_storage_error(first_error, doing) from first_error
    return done


def _open_without_following(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
