"""What several processes may use together only if they mean the same by it: files with one database, and back.

A lock file that everybody holds shared for as long as they use the thing. Whoever finds it unused writes into it what
they use it with; whoever comes later must use it with the same, or is turned away. A kill ends a hold as well as an
end, and what is written means nothing once nobody holds it: so a restored copy goes in where the original was.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from storage.held_path import identity, is_at

_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_READ_BYTES = 256


class UsedOtherwise(Exception):
    """Others use it with something else just now."""


class SharedUse:
    """One hold of such a file. Its first line is its owner's; the second says what it is used with."""

    def __init__(self, path: Path, partner: str, *, head: bytes = b"", make: bool = False) -> None:
        """Hold the file at ``path`` for a use with ``partner``; ``head`` is its first line, ``make`` makes the file.

        Raises:
            UsedOtherwise: others hold it for another partner.
            OSError: it is not there, or cannot be opened.
        """
        self.path = path
        wanted = head + partner.encode() + b"\n"
        while True:
            fd = os.open(path, _OPEN | (os.O_CREAT if make else 0), 0o600)
            try:
                _write_if_alone(fd, wanted)
                fcntl.flock(fd, fcntl.LOCK_SH)
                if is_at(path, identity(os.fstat(fd))):
                    break
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        self._fd = fd
        self._identity = identity(os.fstat(fd))
        self._text = os.pread(fd, _READ_BYTES, 0)
        if self._text != wanted:
            self.close()
            raise UsedOtherwise

    def is_unchanged(self) -> bool:
        """Return whether the path still leads to this file, with what was written there."""
        return is_at(self.path, self._identity) and os.pread(self._fd, _READ_BYTES, 0) == self._text

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def _write_if_alone(fd: int, wanted: bytes) -> None:
    """Write the text if nobody else holds the file; the exclusive lock is the caller's to give up."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if os.pread(fd, _READ_BYTES, 0) != wanted:
        # In place, the first line over itself: a crash here cannot lose whose files these are.
        os.pwrite(fd, wanted, 0)
        os.ftruncate(fd, len(wanted))
