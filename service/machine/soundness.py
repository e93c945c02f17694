"""What is wrong with the machine, found out by doing on a small scale what the service does: writing, durably.

``work.pause`` asks before jobs are tried again, ``web.health`` for ``/readyz``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from service.failures import trouble_of
from storage.clock_table import write_seen
from storage.database import Database
from storage.errors import StorageLost
from storage.files.probe_file import has_no_inodes, write_probe
from storage.trouble import Trouble


def trouble_with_files(folder: Path) -> Trouble | None:
    """Return why no file can be stored in a folder just now; None: one can."""
    try:
        write_probe(folder)
    except OSError as error:
        found = trouble_of(error) or Trouble.DISK
        return Trouble.INODES if found is Trouble.ROOM and has_no_inodes(folder) else found
    return None


def trouble_with_database(database: Database) -> Trouble | None:
    """Return why nothing can be committed to the database just now, without its reserve; None: it can."""
    try:
        write_seen(database)
    except StorageLost:
        # The lookout says what has become of it.
        return None
    except (SQLAlchemyError, OSError, MemoryError) as error:
        return trouble_of(error) or Trouble.DISK
    return None


def trouble_with_threads() -> Trouble | None:
    """Return why no thread can be started; None: one can."""
    try:
        threading.Thread(target=lambda: None, name="probe").start()
    except (RuntimeError, MemoryError) as error:
        return trouble_of(error) or Trouble.THREADS
    return None


def trouble_of_machine(folder: Path, database: Database) -> Trouble | None:
    """Return the first trouble found in what a job needs: files, the database, a thread."""
    return trouble_with_files(folder) or trouble_with_database(database) or trouble_with_threads()


KEEP_SECONDS = 1.0
"""How long an answer holds: whoever asks often costs no more."""
PATIENCE_SECONDS = 1.5
"""Longer than a sound disk takes for two fsyncs; whoever asks must have an answer within about two seconds."""


class Sounding:
    """One thing to find out, in a thread of its own that may hang: then that is the answer, and no other is begun.

    Safe from any thread.
    """

    def __init__(
        self,
        look: Callable[[], Trouble | None],
        *,
        keep_seconds: float = KEEP_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._keep_seconds = keep_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        self._began_at = float("-inf")
        self._found: Trouble | None = None

    def begin(self) -> None:
        """Look now, unless it is known or being looked at. Never blocks."""
        with self._lock:
            if not self._ended.is_set() or self._clock() - self._began_at < self._keep_seconds:
                return
            self._ended.clear()
            self._began_at = self._clock()
            try:
                threading.Thread(target=self._run, name="sounding", daemon=True).start()
            except (RuntimeError, MemoryError) as error:
                self._found = trouble_of(error) or Trouble.THREADS
                self._ended.set()

    def answer(self) -> Trouble | None:
        """Return what was found, at most so much later as there is patience."""
        left_seconds = self._began_at + self._patience_seconds - self._clock()
        return self._found if self._ended.wait(max(0.0, left_seconds)) else Trouble.HANGING

    def _run(self) -> None:
        try:
            self._found = self._look()
        except Exception as error:
            self._found = trouble_of(error) or Trouble.DISK
        self._ended.set()
