"""What the supervising process does for workers that cannot: takes up the jobs of the dead, and leases that are over.

Done by ``serve`` and by the parent of ``vacpack work``, which compute nothing and hold no job, so that it is done with
no worker alive, and with every worker stuck.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.machine.loop import Loop
from service.work.sweep import Sweeper
from storage.clock import boot_milliseconds

UPKEEP_SECONDS = 1.0

HEALTHY_SECONDS = 8.0
"""A lease that is over is taken up only after so long without trouble: with the database locked or full, or the machine
asleep, all leases run out, and nobody's worker is to blame. Then each is renewed by its own worker within its longest
pause (``loop``), 5 s, before anybody may take it up."""

LONGEST_GAP_SECONDS = 5.0
"""Between two rounds, or in one until the lock is had. More is trouble too: the machine slept, this process was
stopped, or another program kept the database locked."""

_log = logging.getLogger(__name__)


def _boot_seconds() -> float:
    return boot_milliseconds() / 1000


class LeaseUpkeep:
    """One round a second. For one thread."""

    def __init__(
        self,
        sweeper: Sweeper,
        on_rescue: Callable[[], object],
        *,
        clock: Callable[[], float] = _boot_seconds,
    ) -> None:
        """``on_rescue`` is called when jobs were queued again; ``clock`` counts sleep."""
        self._sweeper = sweeper
        self._on_rescue = on_rescue
        self._clock = clock
        self._round_at = self._well_since = clock()

    def round(self) -> None:
        """Take up what the dead held, and what is over.

        Raises:
            sqlalchemy.exc.DBAPIError, StorageError: the database or the store is in trouble; the time of health begins
                anew.
        """
        before, self._round_at = self._round_at, self._clock()
        self._note_gap(before)
        try:
            rescued = self._sweeper.rescue_dead() + self._rescue_lapsed()
        except Exception:
            self._well_since = self._clock()
            raise
        if rescued:
            self._on_rescue()

    def _rescue_lapsed(self) -> int:
        # Each round takes the lock: who does not ask for it does not notice that nobody gets it.
        rescued = self._sweeper.rescue_lapsed(self._is_well)
        if rescued:
            _log.warning("leases that were over have been taken up", extra={"jobs": rescued})
        return rescued

    def _is_well(self) -> bool:
        """Say whether it has been well for long enough, now that the lock is held: waiting for it is trouble too."""
        self._note_gap(self._round_at)
        return self._clock() - self._well_since >= HEALTHY_SECONDS

    def _note_gap(self, before: float) -> None:
        now = self._clock()
        if now - before > LONGEST_GAP_SECONDS:
            self._well_since = now


def lease_upkeep(sweeper: Sweeper, on_rescue: Callable[[], object]) -> Loop:
    """Return the duty, to be started and stopped."""
    return Loop("rescuing", LeaseUpkeep(sweeper, on_rescue).round, pause_seconds=UPKEEP_SECONDS)
