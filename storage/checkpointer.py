"""Moving the write-ahead log into the database once it has grown: by one process alone, and while nobody commits.

SQLite before 3.51.3 can lose commits when a connection commits, and so begins the log anew, while another begins to
move it (sqlite.org/wal.html#walresetbug). So no connection moves it on its own account, and ours holds the writers'
lock meanwhile. Why so: docs/adr/0015.
"""

from __future__ import annotations

import fcntl
import os

from sqlalchemy import update

from storage.database import WAL_BYTES, Database, Now
from storage.models import clock

PAUSE_SECONDS = 0.5
"""Between looks at the log: one call of ``stat``."""


class Checkpointer:
    """Keeps the log of one database small. Of several processes, the first one does it for as long as it lives."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock_path = f"{database.url.database}-checkpointer"
        self._descriptor = -1

    def run(self) -> bool:
        """Move the log if it has grown and no other process is in charge; return whether all of it was moved.

        What a reader still looks at stays; the next call tries again.

        Raises:
            sqlalchemy.exc.OperationalError: the database stayed locked.
            OSError: the lock's file cannot be made.
        """
        if self._database.wal_bytes() <= WAL_BYTES or not self._is_in_charge() or not self._database.move_log():
            return False
        # The first commit after it begins the log anew and cuts its file to the limit.
        self._database.free(lambda c: c.execute(update(clock).values(seen_at=Now())), is_durable=False)
        return True

    def close(self) -> None:
        """Leave it to others."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _is_in_charge(self) -> bool:
        if self._descriptor >= 0:
            return True
        descriptor = os.open(self._lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True
