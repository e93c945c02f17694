"""When a worker claims nothing because its machine is in trouble, and how it finds out that the trouble is over.

Told by whoever meets trouble; asked before each claim. Each time that jobs were tried and met trouble again the pause
is longer; one that succeeds begins anew. See docs/adr/0016.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

from service.failures import TROUBLES
from storage.errors import StorageError
from storage.trouble import Trouble

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0

_log = logging.getLogger("vacpack.work")


class Pause:
    """Whether jobs may be tried on this machine just now. Safe from any thread."""

    def __init__(
        self,
        probe: Callable[[], Trouble | None] = lambda: None,
        free_bytes: Callable[[], int] = lambda: 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``probe`` returns the trouble that the machine is in, found cheaply; ``free_bytes`` the room there is."""
        self._probe = probe
        self._read_space = free_bytes
        self._clock = clock
        self._lock = Lock()
        self._trouble: Trouble | None = None
        self._tries = 0
        self._free_bytes = 0
        self._began_at = self._ends_at = self._met_at = 0.0

    @property
    def trouble(self) -> Trouble | None:
        """What it waits for; None: jobs may be tried."""
        return self._trouble

    @property
    def vain_seconds(self) -> float:
        """For how long no job has succeeded since the trouble that it waits for was first met, tries and all."""
        return self._clock() - self._met_at if self._trouble is not None else 0.0

    def begin(self, trouble: Trouble) -> float:
        """Try no job from now on; return for how many seconds at first. What was tried beside it prolongs nothing."""
        with self._lock:
            if self._trouble is None:
                _log.warning("no job is claimed for now: %s", TROUBLES[trouble], extra={"waiting_for": str(trouble)})
                self._tries += 1
                self._free_bytes = 0
                self._began_at = self._clock()
                self._met_at = self._began_at if self._tries == 1 else self._met_at
                self._ends_at = self._began_at + self._seconds()
            self._trouble = trouble
            # What an attempt has given back was not enough: only more than that is news.
            self._free_bytes = max(self._free_bytes, self._room())
            return self._seconds()

    def is_over(self) -> bool:
        """Return whether jobs may be tried; looks at the machine if the pause has lasted, or room has come back."""
        if self._trouble is None:
            return True
        with self._lock:
            if self._clock() < self._ends_at and not self._has_more_room():
                return False
            found = self._probe()
            if found is None:
                waited = round(self._clock() - self._began_at, 1)
                _log.info("jobs are claimed again", extra={"waited_for": str(self._trouble), "seconds": waited})
            self._trouble = found
            self._ends_at = self._clock() + FIRST_SECONDS
            return found is None

    def end(self) -> None:
        """Note that a job has succeeded: the next trouble is another one."""
        self._tries = 0

    def _seconds(self) -> float:
        return min(FIRST_SECONDS * 2.0 ** min(self._tries - 1, 30), LONGEST_SECONDS)

    def _has_more_room(self) -> bool:
        return self._trouble is Trouble.ROOM and self._room() > self._free_bytes

    def _room(self) -> int:
        try:
            return self._read_space()
        except StorageError:
            return 0
