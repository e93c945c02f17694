"""Paths that must stay what they were: told apart from whatever else may stand under the same name later.

A name can be pulled away under a process that has the file open: removed, renamed, replaced, or covered by a mount. The
process reads and writes on as if nothing had happened, into what nobody will find again. So whoever promises something
compares the name with what it once took hold of: one ``stat``, 1 to 5 µs.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

from storage.errors import StorageLost

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def identity(found: os.stat_result) -> str:
    """Return what tells this file from every other of the machine, as long as somebody has it open."""
    return f"{found.st_dev}:{found.st_ino}"


class HeldPath:
    """A path and the file or folder that stood there; held by its inode, so that its number is not given to another.

    By ``O_PATH``: it reads and writes nothing, and closing it does not drop the process's POSIX locks on the file, as
    closing any other descriptor would drop those of SQLite.
    """

    def __init__(self, path: Path, what: str) -> None:
        """``what`` names it in errors, without its path. Raises OSError: there is nothing, or it cannot be reached."""
        self.path = path
        self._what = what
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, fd)
        self.identity = identity(os.fstat(fd))

    def is_there(self) -> bool:
        """Return whether the path still leads to it."""
        return is_at(self.path, self.identity)

    def check(self) -> None:
        """Return if the path still leads to it.

        Raises:
            StorageLost: it does not.
        """
        if not self.is_there():
            raise StorageLost(f"{self._what} {fate(self.path)}", str(self.path))

    def close(self) -> None:
        """Let go of it."""
        self._close()


def is_at(path: Path, wanted: str) -> bool:
    """Return whether the path leads to the file or folder of this identity."""
    try:
        return identity(os.stat(path)) == wanted  # noqa: PTH116 - half the time of Path.stat, before every commit.
    except OSError:
        return False


def fate(path: Path) -> str:
    """Return what has become of a path that no longer leads where it did, and what to do, as the end of a sentence.

    A process never goes on with a copy by itself, however alike: what it has open may hold commits that the copy lacks.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return "has been removed or renamed while it was in use; put the very same one back, and the service goes on"
    except OSError as error:
        return f"cannot be reached any more ({error.strerror})"
    return (
        "has been replaced by another while it was in use; put the very same one back, and the service goes on, "
        "or restart the service to go on with this one"
    )


class LockFile:
    """A file whose exclusive ``flock`` is held until ``close``, or until the process ends, however it ends."""

    def __init__(self, path: Path, what: str) -> None:
        """Make the file if it is missing, and lock it; ``what`` names it in errors.

        Raises:
            BlockingIOError: somebody else holds it.
            OSError: it cannot be opened.
        """
        self._path = path
        self._what = what
        self._fds = [_locked(path)]

    def keep(self) -> None:
        """Lock it again under its path if it was removed, so that nobody else takes it for free.

        Raises:
            StorageLost: somebody else has locked it meanwhile, or its folder is gone.
        """
        if is_at(self._path, identity(os.fstat(self._fds[-1]))):
            return
        try:
            self._fds.append(_locked(self._path))
        except OSError as error:
            raise StorageLost(f"{self._what} was removed and cannot be locked again", str(self._path)) from error

    def close(self) -> None:
        """Let go of the lock; the file stays."""
        while self._fds:
            os.close(self._fds.pop())


def _locked(path: Path) -> int:
    """Return a descriptor of the file at the path, locked; raises OSError."""
    while True:
        fd = os.open(path, _OPEN, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(path, identity(os.fstat(fd))):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
