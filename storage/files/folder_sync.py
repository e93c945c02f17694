"""Group commit for a folder: many renames, one fsync. Called by a part's commit; knows nothing of keys or files."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from storage.files.file_system import FileSystem, sync_folder


class _Round:
    """One fsync to come and everybody who relies on it."""

    __slots__ = ("done", "error", "led", "synced")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.led = False
        self.synced = False
        self.error: OSError | None = None


class FolderSync:
    """Make what happened in a folder durable, sharing fsyncs between threads.

    An fsync covers what happened before it *started*. So one is in flight at a time, and those who come meanwhile
    gather in the next round, whose first member leads it as soon as the one in flight has ended. Everybody in a
    round shares its outcome: after a failure nobody tries again, because a second fsync may report success for what
    the first one lost.
    """

    def __init__(self, file_system: FileSystem, folder: Path) -> None:
        self._file_system = file_system
        self._folder = folder
        self._gathering = _Round()
        self._entry = threading.Lock()
        self._in_flight = threading.Lock()

    def sync(self) -> None:
        """Return when an fsync that started after this call has succeeded.

        Raises:
            OSError: that fsync failed, or its leader was interrupted (EINTR).
        """
        with self._entry:
            mine = self._gathering
            leads, mine.led = not mine.led, True
        if leads:
            self._lead(mine)
        else:
            mine.done.wait()
        if not mine.synced:
            # A new exception for each thread: they must not share a traceback.
            cause = mine.error or InterruptedError(errno.EINTR, "the fsync of the folder was interrupted")
            raise OSError(cause.errno, cause.strerror) from cause

    def _lead(self, mine: _Round) -> None:
        try:
            with self._in_flight:
                self._close_entry(mine)
                sync_folder(self._file_system, self._folder)
                mine.synced = True
        except OSError as error:
            mine.error = error
        finally:
            # Whatever ended this thread's attempt (KeyboardInterrupt too), nobody may wait for it for ever.
            self._close_entry(mine)
            mine.done.set()

    def _close_entry(self, mine: _Round) -> None:
        with self._entry:
            if self._gathering is mine:
                self._gathering = _Round()
