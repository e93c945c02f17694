"""Whether a folder can be written just now: found out by writing a small file into it, durably."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PROBE = "probe"
"""The file's name; no key looks like it. What a kill leaves of it is removed by the next."""
PROBE_BYTES = 64 * 1024
"""More than any file system keeps beside a file's name, so that it takes blocks."""

_CREATE = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


def write_probe(folder: Path) -> None:
    """Write a small file, fsync it, and remove it. Several may do so at once: whose file goes first does not matter.

    Raises:
        OSError: what the system says to any of these.
    """
    path = folder / PROBE
    path.unlink(missing_ok=True)
    fd = os.open(path, _CREATE, 0o600)
    try:
        left = memoryview(bytes(PROBE_BYTES))
        while left:
            left = left[os.write(fd, left) :]
        os.fsync(fd)
    finally:
        os.close(fd)
        with suppress(OSError):
            path.unlink()


def has_no_inodes(folder: Path) -> bool:
    """Return whether the folder's disk can hold no more files; file systems without such a limit say 0 of 0."""
    disk = os.statvfs(folder)
    return disk.f_files > 0 and disk.f_favail == 0
