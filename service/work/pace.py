"""Going no faster than allowed, and stopping in the middle of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Stopped(Exception):
    """Whoever goes at this pace must not go on."""


class Pace:
    """So many bytes a second on average, without catching up on time that was lost elsewhere."""

    def __init__(self, bytes_per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._due = clock()
        self._stopped = threading.Event()

    def take(self, size_bytes: int) -> None:
        """Wait until so many bytes more may have been read.

        Raises:
            Stopped: ``stop`` was called, before or meanwhile.
        """
        now = self._clock()
        self._due = max(self._due, now) + size_bytes / self._bytes_per_second
        if self._stopped.wait(self._due - now):
            raise Stopped

    def stop(self) -> None:
        """Have every ``take`` raise, those that wait too. From any thread."""
        self._stopped.set()
