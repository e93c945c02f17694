"""Settings become concrete parts. The only module that names a backend."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from sqlalchemy.exc import DBAPIError

from migrations import is_newest
from service.audit import AuditQueue
from service.audit_file import PAUSE_SECONDS, AuditFile
from service.caller import Callers, read_trusted
from service.failures import WorkerEnd
from service.intake.admission import Admission, Limits
from service.intake.arrivals import Arrivals
from service.intake.desk import Desk, RetryLimits
from service.intake.dispatch import Dispatcher, NoDispatcher
from service.intake.queue_shares import QueueLimits
from service.intake.sink import Sink
from service.intake.upload import Intake
from service.machine import logs
from service.machine.allocator import BUSY_ROUNDS, give_back
from service.machine.allocator import PAUSE_SECONDS as GIVE_BACK_SECONDS
from service.machine.database_retry import end_of_writing
from service.machine.lookout import LOOK_SECONDS, Lookout
from service.machine.loop import Loop
from service.machine.open_files import open_file_limit
from service.machine.soundness import Sounding, trouble_with_database, trouble_with_files
from service.machine.timekeeping import keep_time
from service.settings import Settings
from service.shares import Rates
from service.start.cannot_start import CannotStart
from service.start.holdings import DataFolder, own_files, prepare
from service.start.kept_secrets import admin_token, manage_secret
from service.start.places import check_database_is_there, files_folder, make_data_folder
from service.web.connection.connections import ConnectionLimits, Connections
from service.web.following.broadcaster import Broadcaster
from service.web.following.status_board import StatusBoard
from service.web.following.waiting import ChangeWatch
from service.web.guesses import Guesses
from service.web.keys import Keys
from service.web.metrics import HttpMetrics
from service.web.parts import Parts
from service.web.sending.download_limits import CONVERSIONS, DOWNLOADS, DownloadLimit
from service.web.sending.recent_conversions import RecentConversions
from service.work.embedded_worker import EmbeddedWorker
from service.work.lease_upkeep import lease_upkeep
from service.work.life_lock import LifeLocks
from service.work.pace import Pace
from service.work.scan_process import split_command, why_not_runnable
from service.work.scrub import CannotScrub, Scrubber, Tally
from service.work.standalone import reserve_loop, run_standalone
from service.work.sweep import Sweeper
from service.work.work_settings import work_settings
from storage.audit_table import EventFilter, list_events
from storage.checkpointer import PAUSE_SECONDS as CHECKPOINT_SECONDS
from storage.checkpointer import Checkpointer
from storage.database import Database
from storage.errors import StorageError
from storage.files.file_owner import FileOwner, is_owner
from storage.files.local_files import LocalFiles
from storage.group_writer import GroupWriter
from storage.jobs.job_views import Backlog, backlog
from storage.jobs.status_reads import PlainStatusReads
from storage.trouble import Trouble

LIST_THREADS = 4
FILE_THREADS = 16

_log = logging.getLogger("vacpack.audit")


def open_database(settings: Settings) -> Database:
    """Return the database, with its folder made."""
    make_data_folder(settings)
    return Database(settings.database_url)


def open_store(settings: Settings, owner: FileOwner | None = None) -> LocalFiles:
    """Return the file store; without ``owner`` it sweeps nothing."""
    check = owner.check if owner else None
    return LocalFiles(files_folder(settings), check=check, quarantine_seconds=settings.quarantine_seconds)


def callers() -> Callers:
    """Return what tells callers apart; which proxies are believed is said in uvicorn's own variable."""
    return Callers(read_trusted(os.environ.get("FORWARDED_ALLOW_IPS", "")))


def make_parts(
    settings: Settings,
    database: Database,
    store: LocalFiles,
    writer: GroupWriter,
    dispatcher: Dispatcher,
    lookout: Lookout,
) -> Parts:
    """Return the parts of an HTTP service."""
    board = StatusBoard(PlainStatusReads(database), settings.public_url, scans=bool(settings.scan_command))
    limits = Limits(
        settings.max_upload_bytes,
        settings.max_queued_jobs,
        settings.min_free_bytes,
        settings.max_reserved_percent_per_address,
        QueueLimits(settings.max_queued_jobs_per_address, settings.max_queued_bytes_per_address),
    )

    def read_backlog() -> Backlog:
        with database.read() as connection:
            return backlog(connection)

    sink = Sink(store)
    admission = Admission(
        limits,
        free_bytes=lambda: store.space().free_bytes,
        backlog=read_backlog,
        make_room=partial(_make_room, store, sink),
        spare_bytes=partial(_spare_bytes, store),
    )
    retries = RetryLimits(settings.max_attempts, settings.max_retries)
    secret = manage_secret(settings)
    watch = ChangeWatch(
        board, max_waiting=settings.max_waiting_requests, max_per_address=settings.max_waiting_requests_per_address
    )
    events = Broadcaster(
        board,
        watch,
        max_streams=min(settings.max_event_streams, open_file_limit() // 2),
        max_per_address=settings.max_event_streams_per_address,
    )
    metrics = HttpMetrics(database, store)
    who, audit = callers(), AuditQueue(writer.run)
    guesses = Guesses(who, audit.record, metrics.met)
    metrics.event_streams.set_function(lambda: events.open_streams)
    return Parts(
        settings=settings,
        callers=who,
        database=database,
        writer=writer,
        store=store,
        lookout=lookout,
        intake=Intake(admission, Arrivals(), sink, Desk(writer, sink, dispatcher, admission, retries)),
        audit=audit,
        query_rates=Rates(settings.max_queries_per_minute_per_address),
        board=board,
        watch=watch,
        events=events,
        downloads=DownloadLimit(
            DOWNLOADS, in_all=settings.max_downloads, per_address=settings.max_downloads_per_address
        ),
        conversions=DownloadLimit(
            CONVERSIONS, in_all=settings.max_conversions, per_address=settings.max_conversions_per_address
        ),
        recent=RecentConversions(),
        keys=Keys(admin_token=admin_token(settings), secret=secret, guesses=guesses),
        metrics=metrics,
        list_limiter=CapacityLimiter(LIST_THREADS),
        file_limiter=CapacityLimiter(FILE_THREADS),
        health_limiter=CapacityLimiter(1),
        soundings={
            "files": Sounding(partial(_trouble_with_room, store, settings)),
            "database": Sounding(partial(trouble_with_database, database)),
        },
    )


def _trouble_with_room(store: LocalFiles, settings: Settings) -> Trouble | None:
    found = trouble_with_files(files_folder(settings))
    is_short = store.space().free_bytes < settings.min_free_bytes
    return found or (Trouble.ROOM if is_short else None)


def make_connections(settings: Settings, parts: Parts) -> Connections:
    """Return the count of connections; files and the database need the rest of what may be open."""
    most = open_file_limit() * 3 // 4
    total = min(settings.max_connections or most, most)
    limits = ConnectionLimits(total, settings.max_connections_per_address)
    connections = Connections(limits, parts.callers, lambda limit: parts.metrics.limits_met.labels(limit).inc())
    parts.metrics.connections.set_function(lambda: connections.open)
    return connections


class Service:
    """One HTTP service and the worker beside it: what ``serve`` starts, tells to stop, and stops."""

    def __init__(self, settings: Settings, data_folder: DataFolder | None = None) -> None:
        """Take the files, as their one service with ``data_folder``, which ``served_alone`` gives.

        Raises:
            CannotStart: as ``own_files``; or uploads are to be scanned by what cannot be run.
        """
        self._settings = settings
        if settings.embedded_worker:
            _check_scanner(settings)
        self._database = open_database(settings)
        self._owner = own_files(settings, self._database, is_serving=data_folder is not None)
        self._store = open_store(settings, self._owner)
        checks = {"files": self._store.check} | ({"data_folder": data_folder.check} if data_folder else {})
        self._lookout = Lookout(self._database, checks)
        self._looking = Loop("looking after what is stored", self._lookout.look, pause_seconds=LOOK_SECONDS)
        self._writer = GroupWriter(self._database, self._store, self._lookout.check)
        self._worker = self._make_worker() if settings.embedded_worker else None
        dispatcher = self._worker or NoDispatcher()
        self.parts = make_parts(settings, self._database, self._store, self._writer, dispatcher, self._lookout)
        self.connections = make_connections(settings, self.parts)
        path = settings.audit_log_file
        self._audit_log = _AuditLog(AuditFile(Path(path), self._database)) if path else None
        self._checkpointer = Checkpointer(self._database)
        run = self._checkpointer.run
        self._checkpoints = Loop("moving the write-ahead log", run, pause_seconds=CHECKPOINT_SECONDS)
        self._reserving = reserve_loop(self._database)
        self._busy_rounds = 0
        self._resting = Loop("giving memory back", self._give_back, pause_seconds=GIVE_BACK_SECONDS)
        self._upkeep = lease_upkeep(_sweeper(settings, self._database, self._store), dispatcher.wake)
        self._stopping: asyncio.Task[None] | None = None

    def _make_worker(self) -> EmbeddedWorker:
        def count(reason: WorkerEnd) -> None:
            self.parts.metrics.workers_replaced.labels(reason).inc()

        # What a dead worker held is given back on a full disk too.
        rescue = partial(self._writer.run, frees=True)
        return EmbeddedWorker(work_settings(self._settings), rescue, on_replaced=count)

    def _give_back(self) -> None:
        """Give freed memory back, unless bodies come or go that would have it again; now and then in any case."""
        self._busy_rounds += 1
        if self._busy_rounds >= BUSY_ROUNDS or not (self.parts.admission.arriving or self.parts.downloads.under_way):
            self._busy_rounds = 0
            give_back()

    def sweep_at_start(self) -> None:
        """Take up what the last process left: its jobs at once, blaming nobody, and uploads that became no job."""
        sweeper = _sweeper(self._settings, self._database, self._store, receives_alone=self._owner.is_serving)
        sweeper.put_back()
        # Leases are judged by the upkeep: a worker that lives may not have been let renew them just now.
        sweeper.rows(with_lapsed=False)
        sweeper.files(source_grace_seconds=0)

    async def start(self) -> None:
        """Begin to write and to work."""
        self._looking.start()
        self._writer.start()
        self._checkpoints.start()
        self._reserving.start()
        self._resting.start()
        self._upkeep.start()
        if self._audit_log is not None:
            self._audit_log.start()
        if self._worker is not None:
            await self._worker.start()

    def begin_stop(self) -> None:
        """React to the signal: refuse uploads, answer who waits, let the worker finish what fits the grace."""
        self.parts.watch.drain()
        if not self._database.is_ending:
            self._database.end_by(end_of_writing(self._settings.shutdown_grace_seconds))
        if self._worker is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self._worker.stop(self._settings.shutdown_grace_seconds))

    async def stop(self) -> None:
        """End everything, after the last request."""
        self.begin_stop()
        if self._stopping is not None:
            await self._stopping
        self._upkeep.stop()
        await self.parts.audit.close()
        self._writer.stop()
        self._checkpoints.stop()
        self._reserving.stop()
        self._resting.stop()
        self._checkpointer.close()
        if self._audit_log is not None:
            self._audit_log.stop()
        self.parts.intake.sink.close()
        self.parts.board.close()
        self._looking.stop()
        self._owner.close()
        self._database.close()


class _AuditLog:
    """Copies audit events to the operation log while the service runs, and the last ones when it stops."""

    def __init__(self, file: AuditFile) -> None:
        self._file = file
        self._loop = Loop("writing the audit log file", file.copy, pause_seconds=PAUSE_SECONDS)

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()
        try:
            self._file.copy()
        except (OSError, DBAPIError, StorageError) as error:
            _log.warning("the audit log file lacks the last events: %s", error)
        self._file.close()


def _check_scanner(settings: Settings) -> None:
    """Raise CannotStart where uploads are to be scanned by what cannot be run: no job would ever succeed."""
    command = split_command(settings.scan_command)
    if command and (reason := why_not_runnable(command)) is not None:
        raise CannotStart(f"VACPACK_SCAN_COMMAND cannot be run: {command[0]!r}: {reason}")


def _sweeper(settings: Settings, database: Database, store: LocalFiles, *, receives_alone: bool = False) -> Sweeper:
    settings_of_work = work_settings(settings)
    locks = LifeLocks(Path(settings_of_work.locks_dir))
    return Sweeper(database, store, locks, settings_of_work, receives_alone=receives_alone)


def _spare_bytes(store: LocalFiles) -> int:
    """Return how much room would come free without what was set aside."""
    try:
        return sum(file.size_bytes for file in store.quarantine.files())
    except StorageError:
        return 0


def _make_room(store: LocalFiles, sink: Sink, size_bytes: int) -> int:
    """Begin to give up what was set aside, if that makes so much room; return how much it makes."""
    if _spare_bytes(store) < size_bytes:
        return 0
    sink.call(store.quarantine.make_room, size_bytes)
    return size_bytes


def sweep(settings: Settings, *, trusts_clock: bool = False) -> dict[str, int]:
    """Do the sweep's duties once; return how much of each there was. ``trusts_clock``: the wall clock is right."""
    prepare(settings)
    database = open_database(settings)
    try:
        keep_time(database, is_trusted=trusts_clock)
        with closing(own_files(settings, database)) as owner:
            sweeper = _sweeper(settings, database, open_store(settings, owner))
            rows, files = sweeper.rows(), sweeper.files(source_grace_seconds=settings.orphan_grace_seconds)
            database.reserve.keep()
    finally:
        database.close()
    return {name: count + getattr(files, name) for name, count in asdict(rows).items()}


def scrub(
    settings: Settings, tell: Callable[[str, str], object], *, bytes_per_second: float, with_sources: bool
) -> Tally:
    """Read what is stored and compare it with the rows; ``tell`` is given each job's id and what was found.

    Makes and migrates nothing. Ctrl-C ends it early, with what was seen until then.

    Raises:
        CannotStart: there is no database of this version, its files are not there, or they cannot be read.
    """
    database, folder = _existing_database(settings), files_folder(settings)
    pace = Pace(bytes_per_second)
    try:
        if not is_owner(database, folder):
            raise CannotStart(f"the files of this database are not in {folder}; is their disk mounted?")
        are_there = partial(is_owner, database, folder)
        scrubber = Scrubber(database, open_store(settings), pace, tell, are_files_there=are_there)
        try:
            scrubber.results()
            if with_sources:
                scrubber.sources()
        except KeyboardInterrupt:
            scrubber.tally.is_interrupted = True
        finally:
            scrubber.close()
        return scrubber.tally
    except CannotScrub as error:
        raise CannotStart(str(error)) from error
    finally:
        database.close()


def audit_events(settings: Settings, wanted: EventFilter) -> list[dict[str, Any]]:
    """Return audit events, newest first. Makes and migrates nothing: whoever reads may be another user, or early.

    Raises:
        CannotStart: there is no database, or not of this version.
    """
    database = _existing_database(settings)
    try:
        with database.read() as connection:
            return list_events(connection, wanted)
    finally:
        database.close()


def _existing_database(settings: Settings) -> Database:
    check_database_is_there(settings)
    if not is_newest(settings.database_url):
        raise CannotStart(f"there is no database of this version at {settings.database_url}; see vacpack migrate")
    return Database(settings.database_url)


def work(settings: Settings) -> None:
    """Run a worker without HTTP until told to stop.

    Raises:
        CannotStart: as ``own_files``.
    """
    logs.configure(log_format=settings.log_format, level=settings.log_level, context=dict)
    _check_scanner(settings)
    prepare(settings)
    with closing(open_database(settings)) as database, closing(own_files(settings, database)) as owner:
        sweeper = _sweeper(settings, database, open_store(settings, owner))
        run_standalone(work_settings(settings), database, sweeper)
