"""The pipe from a supervisor to its worker: first the settings, then a byte for every wake, and its end is the end."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class WakePipe:
    """The writing end. Safe from any thread; a byte that finds the pipe full or broken is dropped."""

    def __init__(self, first_line: str) -> None:
        """Open the pipe with ``first_line`` in it, of less than the 64 KiB that a pipe holds."""
        self.read_fd, self._fd = os.pipe()
        os.write(self._fd, f"{first_line}\n".encode())
        os.set_blocking(self._fd, False)
        # A descriptor closed by one thread while another writes may be somebody else's file by then.
        self._lock = threading.Lock()

    def close_reading(self) -> None:
        """Close this process's copy of the reading end, once the child has its own."""
        os.close(self.read_fd)

    def wake(self) -> None:
        """Send one byte. Never blocks, never raises."""
        with self._lock, suppress(OSError):
            os.write(self._fd, b"\n")

    def close(self) -> None:
        """End the file; a child that still lives ends at once."""
        with self._lock:
            fd, self._fd = self._fd, -1
            os.close(fd)
