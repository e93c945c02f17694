"""The worker: claims jobs, runs each in its own thread, tells the table how they come along, and stops in good order.

It lives in a child process (``child``), or in a test. Three threads talk to the database: one claims, one beats the
heart of all running jobs together, and each attempt's own thread ends it. The computing happens elsewhere
(``low_priority``), so none of them is starved while it holds the database's lock.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from service.failures import trouble_of
from service.machine.database_retry import TimeIsUp
from service.machine.loop import Loop
from service.work.attempt import Attempt, Cancelled, Fenced, Released
from service.work.job_limits import JobLimits
from service.work.pause import Pause
from service.work.pulse import Doing
from service.work.work_settings import WorkSettings
from storage.database import BUSY_TIMEOUT_MILLISECONDS, Database
from storage.errors import StaleAttempt, StorageLost
from storage.jobs.job_attempts import ClaimedJob, claim, heartbeat
from storage.jobs.worker_table import register, sign_of_life, unregister
from storage.trouble import Trouble

SIGN_OF_LIFE_SECONDS = 2.0

LOCKED_SECONDS = BUSY_TIMEOUT_MILLISECONDS / 1000
"""So long a round may wait for the database's lock before it has failed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job of this worker and its attempt."""

    job: ClaimedJob
    attempt: Attempt


class Worker:
    """Works on up to ``settings.worker_jobs`` jobs at a time. Start it once, drain it once."""

    def __init__(
        self,
        worker_id: str,
        database: Database,
        settings: WorkSettings,
        process: Callable[[ClaimedJob, Attempt], None],
        *,
        pause: Pause | None = None,
        end_by: Callable[[ClaimedJob, Exception], None] = lambda _, error: None,
        cores: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """``process`` runs one attempt to its end and never raises; ``end_by`` ends one that could not be begun.

        Nothing is claimed while ``pause`` lasts; ``cores`` is how many threads codecs may share.

        ``check`` raises where nothing may be claimed just now: a job without its files would fail for good.
        """
        self.worker_id = worker_id
        self._database = database
        self._settings = settings
        self._process = process
        self._pause = pause or Pause()
        self._end_by = end_by
        self._told: Trouble | None = None
        self._check = check
        self._cores = cores or os.cpu_count() or 1
        self._slots = settings.worker_jobs
        self._running: dict[Future[None], RunningJob] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(self._slots, thread_name_prefix="attempt")
        self._last_sign = 0.0
        self._renewed_at = 0.0
        self._limits = JobLimits(
            max_cpu_seconds=settings.max_job_cpu_seconds, max_memory_bytes=settings.max_job_memory_bytes
        )
        self._claims = Loop("claiming", self._claim_and_start, pause_seconds=settings.poll_seconds)
        self._heart = Loop("the heartbeat", self._beat, pause_seconds=settings.heartbeat_seconds)
        self.loops: tuple[Loop, ...] = (self._claims, self._heart)

    def start(self) -> None:
        """Enter the worker in the table and begin.

        Raises:
            sqlalchemy.exc.OperationalError: the database cannot be written.
        """
        with self._database.transaction(is_durable=False) as connection:
            self._register(connection)
        self._last_sign = self._renewed_at = time.monotonic()
        self._claims.start()
        self._heart.start()

    def wake(self) -> None:
        """Look for work now. Never blocks; safe from any thread."""
        self._claims.wake()

    def running(self) -> list[RunningJob]:
        """Return what it is working on."""
        with self._lock:
            return list(self._running.values())

    def doing(self) -> dict[str, Doing]:
        """Return how everything gets on that it is at, for the pulse: each round of a duty, and each attempt."""
        rounds = {loop.name: loop.rounds() for loop in self.loops}
        doing = {name: Doing(count, LOCKED_SECONDS) for name, count in rounds.items() if count is not None}
        # Then an attempt can only wait for the database, too.
        is_waiting = self._heart.failing() is not None
        for held in self.running():
            each = held.attempt.doing(waits_for_database=is_waiting)
            if each is not None:
                doing[f"{held.attempt.at} job {held.job.id}"] = each
        return doing

    def waits_in_vain_for(self) -> tuple[Trouble, float] | None:
        """Return the trouble that keeps it from every job, and for how many seconds; None while it may work."""
        trouble, seconds = self._pause.trouble, self._pause.vain_seconds
        return None if trouble is None or self.running() else (trouble, seconds)

    def drain(self, grace_seconds: float) -> None:
        """Claim nothing more, let end what will within the grace, give the rest back, and leave the table.

        Returns when every attempt has ended; one that is deep in a codec notices at its next step.
        """
        self._claims.stop()
        for held in self.running():
            if not held.attempt.may_end_within(grace_seconds):
                held.attempt.stop(Released)
        with self._lock:
            futures = list(self._running)
        wait(futures, grace_seconds)
        for held in self.running():
            held.attempt.stop(Released)
        self._pool.shutdown()
        self._heart.stop()
        try:
            with self._database.transaction(is_durable=False) as connection:
                unregister(connection, self.worker_id)
        except (OperationalError, StorageLost):
            # A sweep forgets silent workers.
            _log.warning("the worker could not leave the table", exc_info=True)

    def _register(self, connection: Connection) -> None:
        register(connection, self.worker_id, host=socket.gethostname(), pid=os.getpid(), capacity=self._slots)

    def _claim_and_start(self) -> None:
        held = self.running()
        if any(job.job.is_isolated for job in held) or len(held) >= self._slots:
            return
        if not self._pause.is_over():
            return
        self._check()
        claimed = self._claim(len(held))
        # Fewer than there are slots means that nothing else is due: then one job may have all cores.
        is_alone = len(held) + len(claimed) == 1
        for job in claimed:
            self._begin(job, threads=self._cores if is_alone else max(1, self._cores // self._slots))

    def _claim(self, held: int) -> list[ClaimedJob]:
        try:
            with self._database.transaction(is_durable=False) as connection:
                return list(self._take(connection, held))
        except (OperationalError, MemoryError) as error:
            trouble = trouble_of(error)
            if trouble is None:
                raise
            self._pause.begin(trouble)
            return []

    def _take(self, connection: Connection, held: int) -> Iterator[ClaimedJob]:
        """Yield claimed jobs until the slots are full, nothing is due, or one must run alone."""
        lease = self._settings.lease_milliseconds
        for taken in range(held, self._slots):
            job = claim(connection, self.worker_id, lease_milliseconds=lease, is_idle=taken == 0)
            if job is None:
                return
            yield job
            if job.is_isolated:
                return

    def _begin(self, job: ClaimedJob, *, threads: int) -> None:
        attempt = Attempt(job.size_bytes, threads=threads)
        try:
            future = self._pool.submit(self._process, job, attempt)
        except (RuntimeError, MemoryError) as error:
            # No thread for it; what the pool kept must not begin later.
            attempt.stop(Fenced)
            self._end_by(job, error)
            return
        with self._lock:
            self._running[future] = RunningJob(job, attempt)
        future.add_done_callback(self._end)

    def _end(self, future: Future[None]) -> None:
        with self._lock:
            ended = self._running.pop(future)
        error = future.exception()
        if isinstance(error, TimeIsUp):
            _log.warning("the end of an attempt is not recorded; the next start takes it up")
        elif error:
            # A fault of the program: the lease runs out, and the job is taken up again.
            _log.error("attempt broke off", extra={"job_id": ended.job.id}, exc_info=error)
        self._claims.wake()

    def _beat(self) -> None:
        """Renew the leases of all running jobs; one that can be renewed no more in time is given back."""
        held = self.running()
        self._limits.look([running.attempt for running in held])
        try:
            self._renew(held)
        except Exception:
            if time.monotonic() - self._renewed_at > self._settings.lease_milliseconds / 1000:
                # Somebody else may have them already.
                for running in held:
                    running.attempt.stop(Released)
            raise
        self._renewed_at = time.monotonic()

    def _renew(self, held: list[RunningJob]) -> None:
        """Tell the table how all running jobs come along, and hear what it has to say, in one transaction."""
        trouble = self._pause.trouble
        is_sign_due = trouble is not self._told or time.monotonic() - self._last_sign >= SIGN_OF_LIFE_SECONDS
        if not held and not is_sign_due:
            return

        def change(connection: Connection) -> None:
            for running in held:
                self._beat_for(connection, running)
            if is_sign_due and not sign_of_life(connection, self.worker_id, trouble):
                # Forgotten while the machine slept.
                self._register(connection)

        # From the reserve on a full disk: what waits there must not look dead. The log that is written over and over
        # does not grow by it for long.
        self._database.free(change, is_durable=False)
        if is_sign_due:
            self._last_sign, self._told = time.monotonic(), trouble

    def _beat_for(self, connection: Connection, running: RunningJob) -> None:
        lease, attempt = self._settings.lease_milliseconds, running.attempt
        try:
            if heartbeat(connection, running.job, attempt.progress(), lease_milliseconds=lease):
                attempt.stop(Cancelled)
        except StaleAttempt:
            attempt.stop(Fenced)
