"""How much this process's threads are kept from running by others, as Linux counts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")
_NANOSECONDS = 1e-9


class Starvation:
    """Compares two looks at the threads' time on the run queue. For one thread."""

    def __init__(self, *, tasks: Path = _TASKS, clock: Callable[[], float] = time.monotonic) -> None:
        self._tasks = tasks
        self._clock = clock
        self._looked_at = clock()
        self._waited = self._waits()

    def share(self) -> float:
        """Return how much of the time since the last look the thread that waited most was not let run, 0 to 1.

        0 where the system does not tell.
        """
        now, waited = self._clock(), self._waits()
        longest = max((seconds - self._waited.get(task, 0.0) for task, seconds in waited.items()), default=0.0)
        share = longest / (now - self._looked_at) if now > self._looked_at else 0.0
        self._looked_at, self._waited = now, waited
        return min(1.0, max(0.0, share))

    def _waits(self) -> dict[str, float]:
        """Return the seconds that each thread has waited for a processor in its life."""
        found = {}
        # A thread may end meanwhile; a kernel without these statistics has no such file.
        with suppress(OSError):
            for task in self._tasks.iterdir():
                with suppress(OSError, ValueError, IndexError):
                    found[task.name] = int((task / "schedstat").read_text().split()[1]) * _NANOSECONDS
        return found
