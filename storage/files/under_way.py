"""Files that are on their way to a row, as every process that uses the folder sees them: no sweep takes one of them.

Each is one byte of a lock file, locked by its process; so it costs no descriptor, and the kernel lets go when the
process ends, however it ends. The locks belong to the open file and not to the process (OFD locks of Linux): those of
the same process are seen as well, and another opening of the file does not drop them.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from storage.ids import Key

LOCK_FILE = "under-way"
"""In the folder of the files; no key looks like it."""

_FLOCK = struct.Struct("hhqqi4x")
_SET = getattr(fcntl, "F_OFD_SETLK", fcntl.F_SETLK)
_GET = getattr(fcntl, "F_OFD_GETLK", fcntl.F_GETLK)


class UnderWay:
    """The keys of one folder that are under way; safe for threads. All methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._mine: set[Key] = set()

    def hold(self, key: Key) -> None:
        """Say that this one is under way."""
        fcntl.fcntl(self._descriptor, _SET, _request(fcntl.F_WRLCK, key))
        self._mine.add(key)

    def release(self, keys: Iterable[Key]) -> None:
        """Say that a row names them, or that they are gone; those never held are no error."""
        for key in self._mine.intersection(keys):
            self._mine.discard(key)
            fcntl.fcntl(self._descriptor, _SET, _request(fcntl.F_UNLCK, key))

    def holds(self, key: Key) -> bool:
        """Return whether some living process says that the file is under way."""
        if key in self._mine:
            return True
        found = fcntl.fcntl(self._descriptor, _GET, _request(fcntl.F_WRLCK, key))
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    @cached_property
    def _descriptor(self) -> int:
        return os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _request(kind: int, key: Key) -> bytes:
    # 60 of the 128 random bits of a source's key: a place in a file of 2^63 bytes that is never written.
    return _FLOCK.pack(kind, os.SEEK_SET, int(key[2:14], 36), 1, 0)
