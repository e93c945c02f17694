"""Reading everything that is stored, from the disk, and comparing it with its row: what ``vacpack scrub`` does.

Bytes are read in a thread behind all others; rows are changed in the caller's, because a starved thread must never hold
the database's lock. No transaction is open while bytes move.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from service.codecs.checksum import Hash, new_checksum
from service.work.low_priority import step_back_fully
from service.work.pace import Pace
from storage.database import Database
from storage.errors import FileMissing, StorageError
from storage.files.file_store import FileStore
from storage.ids import Key
from storage.jobs.result_damage import (
    ResultRow,
    WaitingSource,
    has_result,
    is_waiting,
    note_damaged,
    note_whole,
    results_after,
    waiting_after,
)

T = TypeVar("T")

BATCH = 200
READ_BYTES = 1 << 20
KEEP_BYTES = 32 << 20
"""Pages that may stay in memory before they are given back: a scrub of terabytes must not drive out what is in use."""

_OF_ONE_FILE = frozenset({errno.EIO, errno.ENODATA, errno.EBADMSG, errno.EUCLEAN, errno.ELOOP, errno.EISDIR})
"""What the system says of a file that is spoilt itself. All else, such as a lack of permission, is of all files."""

MISSING = "missing"


class CannotScrub(Exception):
    """The files cannot be read, so that nothing can be said of them; the text says why."""


@dataclass(slots=True)
class Tally:
    """What a scrub has seen so far."""

    whole: int = 0
    damaged: int = 0
    repaired: int = 0
    bytes_read: int = 0
    is_interrupted: bool = False

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.whole} whole, {self.damaged} damaged, {self.repaired} repaired, {self.bytes_read} bytes read"


class Scrubber:
    """Reads what is stored, one file at a time. ``tell`` is given a job's id and what was found, if it is news or bad.

    ``are_files_there`` tells whether the store itself can be seen: files that are not there because no disk is mounted
    are not lost.
    """

    def __init__(
        self,
        database: Database,
        store: FileStore,
        pace: Pace,
        tell: Callable[[str, str], object],
        *,
        are_files_there: Callable[[], bool],
    ) -> None:
        self._database = database
        self._store = store
        self._pace = pace
        self._tell = tell
        self._are_files_there = are_files_there
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="scrub", initializer=step_back_fully)
        self.tally = Tally()

    def results(self) -> None:
        """Read all results; note in their rows which are damaged or lost, and which are whole again.

        Raises:
            CannotScrub: the files cannot be read.
            sqlalchemy.exc.DBAPIError: the rows cannot be read or changed.
        """
        seq = 0
        while rows := self._read(partial(results_after, seq=seq, limit=BATCH)):
            for row in rows:
                self._look_at_result(row)
            seq = rows[-1].seq

    def sources(self) -> None:
        """Read all sources that wait, and tell which are damaged or lost: their jobs find out by themselves.

        Raises: as ``results``.
        """
        seq, position = 0, -1
        while rows := self._read(partial(waiting_after, seq=seq, position=position, limit=BATCH)):
            for row in rows:
                self._look_at_source(row)
            seq, position = rows[-1].seq, rows[-1].position

    def close(self) -> None:
        """End the thread that reads, in the middle of a file where it must be."""
        self._pace.stop()
        self._reader.shutdown()

    def _look_at_result(self, row: ResultRow) -> None:
        found = self._found(row.key, row.size_bytes, hashlib.sha256(), row.sha256)
        if found is None:
            is_repaired = row.is_damaged and self._change(partial(note_whole, job_id=row.job_id, key=row.key))
            self._count_whole(row.job_id, is_repaired=is_repaired)
            return

        def note(connection: Connection) -> bool:
            # Deleted or expired since its row was read: its file is gone with good reason.
            if not has_result(connection, row.job_id, row.key):
                return False
            note_damaged(connection, row.job_id, row.key, found=found)
            return True

        if self._change(note):
            self._count_damaged(row.job_id, found)

    def _look_at_source(self, row: WaitingSource) -> None:
        found = self._found(row.key, row.size_bytes, new_checksum(), row.checksum)
        if found is None:
            self._count_whole(row.job_id)
        elif self._read(partial(is_waiting, source=row)):
            self._count_damaged(row.job_id, f"upload {found}")

    def _count_whole(self, job_id: str, *, is_repaired: bool = False) -> None:
        self.tally.whole += 1
        if is_repaired:
            self.tally.repaired += 1
            self._tell(job_id, "repaired")

    def _count_damaged(self, job_id: str, found: str) -> None:
        self.tally.damaged += 1
        self._tell(job_id, found)

    def _found(self, key: Key, size_bytes: int, seen: Hash, expected: str) -> str | None:
        """Return what is wrong with a stored file, None if it is whole."""
        read = self._reader.submit(self._look, key, seen).result()
        if isinstance(read, str):
            return read
        self.tally.bytes_read += read
        if read != size_bytes:
            return f"damaged: {read} bytes instead of {size_bytes}"
        return None if seen.hexdigest() == expected else "damaged: other bytes than were stored"

    def _look(self, key: Key, seen: Hash) -> int | str:
        """Return how many bytes were read, or why they cannot be."""
        try:
            return self._read_through(key, seen)
        except FileMissing:
            if not self._are_files_there():
                raise CannotScrub("the files are not there any more; is their disk mounted?") from None
            return MISSING
        except (StorageError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in _OF_ONE_FILE:
                return f"damaged: cannot be read ({cause.strerror})"
            raise CannotScrub(f"a stored file cannot be read: {getattr(cause, 'strerror', None) or error}") from error

    def _read_through(self, key: Key, seen: Hash) -> int:
        # What memory holds proves nothing of the disk.
        self._store.drop_cached(key)
        size_bytes = kept_bytes = 0
        with self._store.open(key) as file:
            while chunk := file.read(READ_BYTES):
                seen.update(chunk)
                size_bytes += len(chunk)
                kept_bytes += len(chunk)
                if kept_bytes >= KEEP_BYTES:
                    self._store.drop_cached(key)
                    kept_bytes = 0
                self._pace.take(len(chunk))
        self._store.drop_cached(key)
        return size_bytes

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._database.read() as connection:
            return query(connection)

    def _change(self, change: Callable[[Connection], bool]) -> bool:
        with self._database.transaction() as connection:
            return change(connection)
