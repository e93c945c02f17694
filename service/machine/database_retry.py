"""Changes that must get through: tried again for as long as the database is locked, full or away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from storage.database import Database
from storage.errors import StorageLost

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LAST_SECONDS = 1.0
"""The part of the grace that is kept for ending without the database, when it stays locked."""

LONGEST_PAUSE_SECONDS = 5.0
"""Each try itself waits for the lock as long as the busy timeout; pauses are for a full disk or a missing mount."""

_log = logging.getLogger(__name__)


class TimeIsUp(Exception):
    """The process must end, and the database is still locked: whoever starts next takes up what it held."""


def end_of_writing(grace_seconds: float) -> float:
    """Return when a process that has been told to stop waits for the database no more, by ``time.monotonic``."""
    return time.monotonic() + max(grace_seconds / 2, grace_seconds - LAST_SECONDS)


def persist(
    database: Database, change: Callable[[Connection], T], *, sleep: Callable[[float], object] = time.sleep
) -> T:
    """Run ``change`` in one durable transaction and return what it returns, however long that takes.

    On a full disk the reserve gives it room: it is how jobs give up what they hold. A try may fail and yet have been
    committed, if the error came from the commit itself: ``change`` may find its own work done. The trouble is
    logged once.

    Raises:
        TimeIsUp: the process must end (``Database.end_by``).
        Exception: what ``change`` raises otherwise, but OperationalError, StorageLost and MemoryError.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return database.free(change)
        except (OperationalError, StorageLost, MemoryError) as error:
            if database.must_end:
                raise TimeIsUp from error
            if pause == FIRST_PAUSE_SECONDS:
                _log.warning("the end of an attempt or a delivery cannot be recorded yet; trying again", exc_info=True)
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
