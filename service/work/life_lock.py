"""Which workers of this machine are dead, told by the kernel: exactly, at once, with no pids and no clocks.

Every worker has a file ``<worker_id>.lock`` in one folder, locked by ``flock`` for as long as the worker or its
supervisor lives: the supervisor takes the lock and its child inherits the very same open file, so that the kernel lets
go of it when the last of the two has ended, however it ended. A supervisor that lives takes care of its dead child
itself, and knows that it died of something; a lock that is free says that both are gone, and nobody is to blame.

The folder lies on a local disk, as the SQLite database beside it must. Containers may share it.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from storage.held_path import identity, is_at

_NAME = re.compile(r"([a-z2-7]{26})\.lock")
_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class LifeLock:
    """The lock of one worker that lives. Released by ``end`` or by the death of every process that has it open."""

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self._fds = [fd]
        self._path = path

    def keep(self) -> None:
        """Make the file again if it was removed, folder and all, while the worker lives. Raises OSError.

        It appears under its name locked already, so that nobody ever sees a living worker's lock free. The lock is then
        the caller's alone, and no longer the child's too: that ends at once when the caller has.
        """
        if is_at(self._path, identity(os.fstat(self._fds[-1]))):
            return
        _make(self._path.parent)
        new = self._path.with_suffix(".new")
        fd = os.open(new, _OPEN | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(self._path)
        except BaseException:
            os.close(fd)
            raise
        self._fds.append(fd)

    def end(self) -> None:
        """Remove the file and let go: after this nothing of the worker is left. Call it once."""
        self._path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Let go and leave the file: who looks for the dead takes up what the worker held. Instead of ``end``."""
        while self._fds:
            os.close(self._fds.pop())


def _make(folder: Path) -> None:
    """Make the folder if it is missing, but never the data folder around it, which somebody may be about to put back.

    Raises OSError.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)


class LifeLocks:
    """The folder of the locks."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``; make it if it is missing, in a folder that is there. Raises OSError."""
        _make(folder)
        self._folder = folder

    def take(self, worker_id: str) -> LifeLock:
        """Return the lock of a worker that is about to begin; enter it in the table only afterwards.

        Raises:
            OSError: the folder cannot be written.
        """
        _make(self._folder)
        path = self._path(worker_id)
        while True:
            fd = os.open(path, _OPEN | os.O_CREAT, 0o600)
            # Somebody who looks for the dead may hold the file for microseconds, and may even have removed it.
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return LifeLock(fd, path)
            os.close(fd)

    def dead(self) -> list[str]:
        """Return the ids of workers that ended without ``LifeLock.end``; none while the folder is missing.

        A worker without a file is not dead for that: its supervisor makes the file again, or its lease runs out.
        """
        try:
            names = [_NAME.fullmatch(name) for name in os.listdir(self._folder)]  # noqa: PTH208 - read to its end here.
        except FileNotFoundError:
            return []
        return [name[1] for name in names if name and self._is_free(name[1], then_remove=False)]

    def forget(self, worker_id: str) -> None:
        """Remove the file of a dead worker; that of a worker that is just beginning is left."""
        self._is_free(worker_id, then_remove=True)

    def _is_free(self, worker_id: str, *, then_remove: bool) -> bool:
        try:
            fd = os.open(self._path(worker_id), _OPEN)
        except FileNotFoundError:
            return False
        try:
            # Shared where it is only a question, so that two who ask at the same time both see it free.
            fcntl.flock(fd, (fcntl.LOCK_EX if then_remove else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            if then_remove:
                self._path(worker_id).unlink(missing_ok=True)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(fd)

    def _path(self, worker_id: str) -> Path:
        return self._folder / f"{worker_id}.lock"
