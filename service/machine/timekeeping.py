"""Looking at the machine's clocks, which must be done again and again; and telling the operator when they disagree."""

from __future__ import annotations

import logging

from storage import clock_table
from storage.clock import TOLERANCE_MILLISECONDS, Clock, is_in_question, is_remarkable, read_clocks, unproven
from storage.database import Database

_log = logging.getLogger(__name__)


def keep_time(database: Database, *, is_trusted: bool = False) -> Clock:
    """Advance the service's clock, and set it by the wall clock once that has lasted; return it.

    ``is_trusted``: an operator says that the wall clock is right.
    """
    # Nothing expires by a clock that stands still: it makes room too.
    before, after = database.free(lambda c: clock_table.advance(c, read_clocks(), is_trusted=is_trusted))
    _tell(before, after)
    return after


def _tell(before: Clock, after: Clock) -> None:
    is_new = after.boot_id != before.boot_id or abs(after.step - before.step) >= TOLERANCE_MILLISECONDS
    told = {"ahead_seconds": round(unproven(after) / 1000, 1)}
    if is_in_question(after) and is_new:
        level = logging.WARNING if is_remarkable(after) else logging.INFO
        _log.log(level, "the wall clock is not believed yet; nothing is removed by it", extra=told)
    elif is_in_question(before) and not is_in_question(after):
        _log.info("the wall clock is believed", extra=told)
