"""Room that is kept beside the database for what makes room: on a full disk, deleting needs some first.

A file of real blocks, ``<database>-reserve``. Whoever frees something and finds no room cuts a piece off it and tries
again (``Database.free``); it is made whole once there is room for it and as much again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SIZE_BYTES = 8 * 1024**2
"""Twice what the write-ahead log grows to: it and the pages it is moved to may both be missing."""

SHARE_OF_THE_DISK = 16
"""Of a small disk no more than a sixteenth is kept."""

STEPS = 8
"""Pieces in which it is given up, so that others who write to a full disk cannot take all of it at once."""

_PAGE_BYTES = 4096
_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Reserve:
    """The reserve of one database. Safe from any thread and from several processes."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}-reserve")

    def keep(self) -> bool:
        """Make it whole if there is room for it and as much again; return whether it is whole."""
        try:
            fd = os.open(self.path, _OPEN, 0o600)
            try:
                return self._keep(fd)
            finally:
                os.close(fd)
        except OSError:
            # The next call tries again, and whoever is short of it says so.
            return False

    def size_bytes(self) -> int:
        """Return how much of it there is."""
        with suppress(OSError):
            return self.path.stat().st_size
        return 0

    def give(self) -> bool:
        """Give a piece of it up; return whether there was one."""
        with suppress(OSError):
            held = self.path.stat().st_size
            if held:
                os.truncate(self.path, max(0, held - self._wanted_bytes() // STEPS))
                return True
        return False

    def give_if_short(self) -> None:
        """Give a piece up if less than one is free: for a process that begins, and whose first files need room."""
        with suppress(OSError):
            if _free_bytes(self.path.parent) < self._wanted_bytes() // STEPS:
                self.give()

    def _keep(self, fd: int) -> bool:
        found, wanted = os.fstat(fd), self._wanted_bytes()
        held = min(found.st_size, found.st_blocks * 512)
        if held >= wanted:
            return True
        if _free_bytes(self.path.parent) < 2 * wanted - held:
            return False
        os.posix_fallocate(fd, 0, wanted)
        return True

    def _wanted_bytes(self) -> int:
        disk = os.statvfs(self.path.parent)
        share = disk.f_blocks * disk.f_frsize // SHARE_OF_THE_DISK
        whole = STEPS * _PAGE_BYTES
        return max(whole, min(SIZE_BYTES, share) // whole * whole)


def _free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
