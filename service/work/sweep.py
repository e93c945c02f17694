"""What has to be tidied up, one small duty each: dead workers, lapsed leases, expiry, pruning, files nobody names.

Every duty takes short transactions of its own, deletes files only after the commit that gave them up, and does no harm
when several processes sweep at once. A duty that fails leaves its work to the next sweep. Only what a row named until
just now is deleted at once; what merely seems to be nobody's goes into the quarantine, by the store, which asks each
time whose files these are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, select

from service.machine.timekeeping import keep_time
from service.work.life_lock import LifeLocks
from service.work.work_settings import WorkSettings
from storage import audit_table
from storage.database import Database, Proven
from storage.files.file_store import FileStore, StoredFile
from storage.ids import attempt_of, result_key
from storage.jobs.job_leaving import LeftJob
from storage.jobs.job_rescue import rescue_lapsed, rescue_worker
from storage.jobs.job_table import expire, prune
from storage.jobs.job_views import named, unnamed
from storage.jobs.worker_table import forget_silent, unregister

T = TypeVar("T")

BATCH = 500
"""Rows or files of one transaction: some milliseconds of the database's lock at most."""

SILENT_WORKER_MILLISECONDS = 3_600_000


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """How much each duty found to do."""

    rescued: int = 0
    expired_files: int = 0
    pruned: int = 0
    pruned_audit_events: int = 0
    forgotten_workers: int = 0
    dead_parts: int = 0
    orphans: int = 0
    put_back: int = 0
    removed_for_good: int = 0


class Sweeper:
    """The duties, over one database, file store and folder of life locks. Safe to use from several threads."""

    def __init__(
        self,
        database: Database,
        store: FileStore,
        locks: LifeLocks,
        settings: WorkSettings,
        *,
        receives_alone: bool = False,
    ) -> None:
        """``receives_alone``: no other process receives uploads into the store, so that a grace of zero is safe."""
        self._receives_alone = receives_alone
        self._database = database
        self._store = store
        self._locks = locks
        self._settings = settings

    def keep_time(self) -> None:
        """Look at the clocks, so that what follows knows how much time has certainly passed."""
        keep_time(self._database)

    def rescue_dead(self) -> int:
        """Queue again what workers of this machine held that are dead with their supervisors; return how many jobs.

        Nobody is blamed: the service died, or the machine.
        """
        return sum(self._rescue_worker(worker_id) for worker_id in self._locks.dead())

    def rescue_lapsed(self, may_rescue: Callable[[], bool] = lambda: True) -> int:
        """Queue again, or fail, the jobs whose lease is over; return how many.

        ``may_rescue`` is asked when the database's lock is held: who had to wait for it knows only then.
        """
        return self._remove_outputs(self._change(lambda c: rescue_lapsed(c) if may_rescue() else []))

    def expire(self) -> int:
        """Expire ended jobs whose time is over; return how many files that removed."""
        removed = 0
        while keys := self._change(
            lambda connection: expire(connection, grave_milliseconds=self._settings.grave_milliseconds, limit=BATCH)
        ):
            self._store.delete(keys)
            removed += len(keys)
        return removed

    def prune(self) -> int:
        """Remove the rows of expired jobs whose grave has stood long enough; return how many."""
        removed = 0
        while fresh := self._change(lambda connection: prune(connection, limit=BATCH)):
            removed += fresh
        return removed

    def prune_audit_events(self) -> int:
        """Remove the audit events that are too old, and the oldest where there are too many; return how many."""
        age, most, removed = self._settings.audit_retention_milliseconds, self._settings.audit_max_events, 0
        while fresh := self._change(
            lambda connection: audit_table.prune(connection, older_than_milliseconds=age, keep=most, limit=BATCH)
        ):
            removed += fresh
        return removed

    def forget_silent_workers(self) -> int:
        """Remove workers from the table that were silent for an hour and hold nothing; return how many."""
        return self._change(lambda c: forget_silent(c, for_milliseconds=SILENT_WORKER_MILLISECONDS))

    def remove_orphans(self, *, source_grace_seconds: float) -> int:
        """Set files aside that no row names, sources only from that age on; return how many.

        A small source is stored a moment before its row, and others are held until theirs; a result's attempt runs for
        as long as its file may be unnamed, so results need no grace. Zero is for the one service that could receive,
        and does not yet.

        Raises:
            ValueError: a grace of zero, where others may be receiving.
            StorageLost: these are not the files of this database (any more); nothing was touched.
        """
        if source_grace_seconds <= 0 and not self._receives_alone:
            raise ValueError("another process may be receiving: its uploads are named by no row yet")
        newest = self._now_seconds() - source_grace_seconds if source_grace_seconds else math.inf
        files = (file for file in self._store.files() if attempt_of(file.key) or file.modified_at <= newest)
        return sum(self._set_aside_unnamed(batch) for batch in _batches(files))

    def put_back(self) -> int:
        """Put back what was set aside and is named by a row after all: the database was restored. Return how many."""
        return sum(self._put_back_named(batch) for batch in _batches(self._store.quarantine.files()))

    def make_room(self) -> int:
        """Give up what was set aside as far as the room that is to be kept free needs it; return how many bytes."""
        short_bytes = self._settings.min_free_bytes - self._store.space().free_bytes
        return self._store.quarantine.make_room(short_bytes) if short_bytes > 0 else 0

    def rows(self, *, with_lapsed: bool = True) -> SweepCounts:
        """Do what is cheap and pressing: everything that begins with the table; ``with_lapsed``, leases too."""
        self.keep_time()
        return SweepCounts(
            rescued=self.rescue_dead() + (self.rescue_lapsed() if with_lapsed else 0),
            expired_files=self.expire(),
            pruned=self.prune(),
            pruned_audit_events=self.prune_audit_events(),
            forgotten_workers=self.forget_silent_workers(),
        )

    def files(self, *, source_grace_seconds: float) -> SweepCounts:
        """Do the duties that look at every stored file, or at what was set aside."""
        return SweepCounts(
            put_back=self.put_back(),
            dead_parts=self._store.remove_dead_parts(),
            orphans=self.remove_orphans(source_grace_seconds=source_grace_seconds),
            removed_for_good=self._store.quarantine.remove_old(),
        )

    def _change(self, change: Callable[[Connection], T]) -> T:
        # All of them make room, or give back what nobody holds any more.
        return self._database.free(change)

    def _rescue_worker(self, worker_id: str) -> int:
        def change(connection: Connection) -> list[LeftJob]:
            limit = self._settings.max_worker_losses
            left = rescue_worker(connection, worker_id, is_blamed=False, max_losses=limit)
            unregister(connection, worker_id)
            return left

        rescued = self._remove_outputs(self._change(change))
        self._locks.forget(worker_id)
        return rescued

    def _remove_outputs(self, left: list[LeftJob]) -> int:
        """Set aside what attempts that are over may have stored.

        Not deleted: under an older database the same attempt may have ended well since, and that is its only result.
        """
        self._store.quarantine.take([result_key(job.id, job.epoch) for job in left])
        return len(left)

    def _now_seconds(self) -> float:
        """Return the earlier of the wall clock, which stamps files, and the time that has certainly come."""
        with self._database.read() as connection:
            proven: int = connection.execute(select(Proven())).scalar_one()
        return min(proven / 1000, time.time())

    def _set_aside_unnamed(self, files: list[StoredFile]) -> int:
        # In this order: who lets go of a file has committed its row.
        keys = [file.key for file in files if attempt_of(file.key) or not self._store.is_held(file.key)]
        with self._database.read() as connection:
            keys = unnamed(connection, keys)
        self._database.check()
        return self._store.quarantine.take(keys)

    def _put_back_named(self, files: list[StoredFile]) -> int:
        keys = [file.key for file in files]
        with self._database.read() as connection:
            names = named(connection, keys)
        return self._store.quarantine.put_back([key for key in keys if key in names])


def _batches(files: Iterable[StoredFile]) -> Iterator[list[StoredFile]]:
    files = iter(files)
    while batch := list(islice(files, BATCH)):
        yield batch
