"""What one job may take of the machine: processor time and memory, looked at as often as hearts beat.

Codecs run in threads of their own making, which tell nobody what they took; so the process's time is shared out evenly
among the attempts that run, and its memory above that of an idle worker is held to so much for each of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from service.work.attempt import Attempt, CpuSpent, MemorySpent


def resident_bytes() -> int:
    """Return the memory that this process has of the machine's; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class JobLimits:
    """Stops attempts that take more than a job may. For one thread: the heartbeat's."""

    def __init__(
        self,
        *,
        max_cpu_seconds: float,
        max_memory_bytes: int,
        cpu_seconds: Callable[[], float] = time.process_time,
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        """0: no limit."""
        self._max_cpu_seconds = max_cpu_seconds
        self._max_memory_bytes = max_memory_bytes
        self._cpu_seconds = cpu_seconds
        self._resident = resident
        self._seen_seconds = cpu_seconds()
        self._idle_bytes = resident()

    def look(self, attempts: Sequence[Attempt]) -> None:
        """Charge what was taken since the last look to the attempts that run, oldest first, and stop those over."""
        now = self._cpu_seconds()
        spent, self._seen_seconds = now - self._seen_seconds, now
        for attempt in attempts:
            attempt.cpu_seconds += spent / len(attempts)
            if 0 < self._max_cpu_seconds < attempt.cpu_seconds:
                attempt.stop(CpuSpent)
        if self._max_memory_bytes:
            self._look_at_memory(attempts)

    def _look_at_memory(self, attempts: Sequence[Attempt]) -> None:
        resident = self._resident()
        if not attempts:
            self._idle_bytes = resident
        elif resident - self._idle_bytes > self._max_memory_bytes * len(attempts):
            # The one begun last: those before it had room.
            attempts[-1].stop(MemorySpent)
