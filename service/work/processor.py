"""One attempt from its claim to its end: compute, then one transaction that says how it ended.

Computing runs where ``Compute`` puts it, at the lowest priority; the transactions run in the caller's thread, because
a starved thread must never hold the database's lock.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from service.failures import FAILURES, MALICIOUS, AttemptFailed, failure_of, trouble_of
from service.machine.database_retry import persist
from service.work.attempt import Attempt, AttemptStopped, Cancelled, Fenced, OverLimit, Released
from service.work.pause import Pause
from service.work.result_maker import Made, Tools, make_result
from storage.database import Database
from storage.errors import StaleAttempt, StorageError, StorageLost
from storage.ids import Key, result_key
from storage.jobs.job_attempts import ClaimedJob, confirm_cancel, fail, finish, pause, release
from storage.jobs.job_views import job_rows
from storage.trouble import Trouble

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Compute(Protocol):
    """Where the heavy part runs."""

    def __call__(self, function: Callable[[], T], attempt: Attempt, /) -> T:
        """Run ``function``, wait for it, and return or raise what it does.

        May raise ``AttemptStopped`` before ``function`` has noticed that the attempt was stopped.
        """
        ...


def in_this_thread(function: Callable[[], T], _: Attempt, /) -> T:
    """Run ``function`` here and now: the plain ``Compute``."""
    return function()


@dataclass(frozen=True, slots=True)
class RetryPauses:
    """How long a failed attempt waits for the next, in seconds."""

    first_seconds: float
    longest_seconds: float

    def milliseconds(self, attempt: int) -> int:
        """Return the pause after attempt number ``attempt`` (1 is the first): doubled each time, half of it random.

        Jobs that failed together, on a full disk say, do not come back together.
        """
        doubled: float = self.first_seconds * 2 ** min(attempt - 1, 30)
        return round(1000 * min(doubled, self.longest_seconds) * random.uniform(0.5, 1))


class Processor:
    """Runs attempts. Safe to call from several threads."""

    def __init__(
        self,
        database: Database,
        tools: Tools,
        pauses: RetryPauses,
        *,
        pause: Pause | None = None,
        compute: Compute = in_this_thread,
    ) -> None:
        """``pause`` is told of trouble of the machine, for which no attempt is counted."""
        self._database = database
        self._tools = tools
        self._pauses = pauses
        self._pause = pause or Pause()
        self._compute = compute

    def process(self, job: ClaimedJob, attempt: Attempt) -> None:
        """Work on a claimed job until it is finished, failed, cancelled or given back; never raises for any of these.

        The files of the sources are deleted when it has succeeded, and where they are malicious; the attempt's own
        output in every case but success.

        Raises:
            Exception: its success could not be recorded, TimeIsUp say. All files stay: it may have been, all the same.
        """
        try:
            # What is there already is not this attempt's: a power loss brought it back, or an older database was
            # restored, and it is the result of the same attempt in its newer one.
            self._tools.store.quarantine.take([result_key(job.id, job.epoch)])
            made = self._computed(job, attempt)
        except Cancelled:
            self._leave(job, lambda connection: confirm_cancel(connection, job))
        except Fenced:
            self._discard([result_key(job.id, job.epoch)])
        except Released:
            self._leave(job, lambda connection: release(connection, job))
        except OverLimit as reason:
            self._fail(job, AttemptFailed(reason.code, reason.told))
        except Exception as error:
            # A pool that could start no thread may run it yet.
            attempt.stop(Fenced)
            self.end_by(job, error)
        else:
            self._finish(job, made)

    def _computed(self, job: ClaimedJob, attempt: Attempt) -> Made:
        try:
            return self._compute(lambda: self._make(job, attempt), attempt)
        finally:
            attempt.computed()

    def _make(self, job: ClaimedJob, attempt: Attempt) -> Made:
        try:
            return make_result(self._tools, job, attempt)
        except AttemptStopped:
            # ``process`` may have gone on already, and removed what there was before this stored its result.
            self._discard([result_key(job.id, job.epoch)])
            raise

    def _finish(self, job: ClaimedJob, made: Made) -> None:
        tries = 0

        def change(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            try:
                finish(connection, job, made.result, made.digests)
            except StaleAttempt:
                # A commit that reported an error may have been made all the same.
                if tries == 1 or not _is_result(connection, job.id, made.result.key):
                    raise

        try:
            persist(self._database, change)
        except StaleAttempt:
            self._leave(job, lambda connection: confirm_cancel(connection, job))
            return
        self._pause.end()
        _log.info("job succeeded", extra=_facts(job, format=made.result.format, size_bytes=made.result.size_bytes))
        if not made.result.stored_as_is:
            self._discard([source.key for source in job.sources])

    def end_by(self, job: ClaimedJob, error: Exception) -> None:
        """Record that an error ended the attempt, or that it could not begin: counted only if it concerns this job."""
        try:
            self._tools.store.check()
        except StorageLost as lost:
            _log.warning("attempt given back: %s", lost, extra=_facts(job))
            self._leave(job, lambda connection: release(connection, job))
            return
        trouble = trouble_of(error)
        if trouble is None:
            self._fail(job, error)
        else:
            self._give_back(job, trouble, error)

    def _give_back(self, job: ClaimedJob, trouble: Trouble, error: Exception) -> None:
        # Before the trouble is told: what the output took is free again, and was not enough.
        self._discard([result_key(job.id, job.epoch)])
        milliseconds = round(1000 * self._pause.begin(trouble))
        _log.info("attempt given back, uncounted", extra=_facts(job, waiting_for=str(trouble), cause=repr(error)))
        self._leave(job, lambda connection: pause(connection, job, trouble, pause_milliseconds=milliseconds))

    def _fail(self, job: ClaimedJob, error: Exception) -> None:
        failure = failure_of(error)
        is_expected = isinstance(error, AttemptFailed)
        _log.warning("attempt failed", extra=_facts(job, code=failure.code), exc_info=None if is_expected else error)
        is_malicious = failure.code == MALICIOUS
        is_recorded = self._leave(
            job,
            lambda connection: fail(
                connection,
                job,
                code=failure.code,
                detail=failure.detail,
                is_fatal=FAILURES[failure.code].is_fatal,
                pause_milliseconds=self._pauses.milliseconds(job.attempt),
                drops_sources=is_malicious,
            ),
        )
        if is_malicious and is_recorded:
            self._discard([source.key for source in job.sources])

    def _leave(self, job: ClaimedJob, change: Callable[[Connection], object]) -> bool:
        """Remove the output, then record the end; return False, with nothing recorded, if it was over already."""
        self._discard([result_key(job.id, job.epoch)])
        try:
            persist(self._database, change)
        except StaleAttempt:
            _log.info("attempt was over already", extra=_facts(job))
            return False
        return True

    def _discard(self, keys: list[Key]) -> None:
        try:
            self._tools.store.delete(keys)
        except StorageError:
            # A sweep finds what is left.
            _log.warning("files could not be deleted", exc_info=True)


def _is_result(connection: Connection, job_id: str, key: Key) -> bool:
    return any(row["result_key"] == key for row in job_rows(connection, [job_id]))


def _facts(job: ClaimedJob, **more: object) -> dict[str, object]:
    return {"job_id": job.id, "epoch": job.epoch, **more}
