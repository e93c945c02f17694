"""Settings become concrete parts. The only module that names a backend."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from sqlalchemy.exc import DBAPIError

from migrations import is_newest, migrate
from service import logs
from service.admission import Admission, Limits
from service.audit import AuditQueue
from service.audit_file import PAUSE_SECONDS, AuditFile
from service.cannot_start import CannotStart
from service.dispatch import Dispatcher, NoDispatcher
from service.kept_secrets import admin_token, manage_secret
from service.open_files import open_file_limit
from service.places import check_database_is_there, check_places, files_folder, make_data_folder
from service.settings import Settings
from service.sink import Sink
from service.web.arrivals import Arrivals
from service.web.broadcaster import Broadcaster
from service.web.keys import Keys
from service.web.metrics import HttpMetrics
from service.web.parts import Parts
from service.web.status_board import StatusBoard
from service.web.waiting import ChangeWatch
from service.work.database_retry import end_of_writing
from service.work.embedded_worker import EmbeddedWorker
from service.work.life_lock import LifeLocks
from service.work.loop import Loop
from service.work.pace import Pace
from service.work.scrub import CannotScrub, Scrubber, Tally
from service.work.standalone import run_standalone
from service.work.sweep import Sweeper
from service.work.timekeeping import keep_time
from service.work.work_settings import work_settings
from storage.audit_table import EventFilter, list_events
from storage.checkpointer import PAUSE_SECONDS as CHECKPOINT_SECONDS
from storage.checkpointer import Checkpointer
from storage.database import Database
from storage.file_owner import MARKER, is_owner, owns
from storage.group_writer import GroupWriter
from storage.job_views import Backlog, backlog
from storage.local_files import LocalFiles

LIST_THREADS = 4

_log = logging.getLogger("vacpack.audit")


class ForeignFiles(CannotStart):
    """The files belong to another database."""


class AlreadyServed(CannotStart):
    """Another service holds this data folder."""


def open_database(settings: Settings) -> Database:
    """Return the database, with its folder made."""
    make_data_folder(settings)
    return Database(settings.database_url)


def open_store(settings: Settings) -> LocalFiles:
    """Return the file store."""
    return LocalFiles(files_folder(settings))


def check_owner(settings: Settings, database: Database) -> None:
    """Refuse to work over files that belong to another database: a sweep would remove them.

    Raises:
        ForeignFiles: they do.
    """
    folder = files_folder(settings)
    if not owns(database, folder):
        raise ForeignFiles(
            f"the files in {folder} belong to another database than {settings.database_url}. Where that one is gone, "
            f"remove {folder / MARKER} to go on; files that no job names are then removed"
        )


def prepare(settings: Settings, revision: str = "head") -> None:
    """Make the data folder and bring the schema to a revision, the newest by default.

    Raises:
        CannotStart: something that is kept cannot be used.
    """
    make_data_folder(settings)
    check_places(settings)
    migrate(settings.database_url, revision)
    if revision == "head":
        # Before anything reads the time: after a restart of the machine the clock must be set anew.
        with closing(Database(settings.database_url)) as database:
            keep_time(database)


@contextmanager
def served_alone(settings: Settings) -> Iterator[None]:
    """Hold the data folder for one service; the kernel lets go when the process ends, however it ends.

    Raises:
        CannotStart: another process holds it, or it cannot be written.
    """
    make_data_folder(settings)
    check_places(settings)
    try:
        descriptor = os.open(settings.data_dir / "service.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"the data folder {settings.data_dir} cannot be written: {error.strerror}") from error
    try:
        _lock(descriptor, settings.data_dir)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AlreadyServed(f"another vacpack serves {folder}") from error


def make_parts(
    settings: Settings, database: Database, store: LocalFiles, writer: GroupWriter, dispatcher: Dispatcher
) -> Parts:
    """Return the parts of an HTTP service."""
    board = StatusBoard(database.reader, settings.public_url)
    limits = Limits(settings.max_upload_bytes, settings.max_queued_jobs, settings.min_free_bytes)

    def read_backlog() -> Backlog:
        with database.read() as connection:
            return backlog(connection)

    admission = Admission(limits, free_bytes=lambda: store.space().free_bytes, backlog=read_backlog)
    secret = manage_secret(settings)
    watch = ChangeWatch(board, max_waiting=settings.max_waiting_requests)
    events = Broadcaster(board, watch, max_streams=min(settings.max_event_streams, open_file_limit() // 2))
    metrics = HttpMetrics(database, store)
    metrics.event_streams.set_function(lambda: events.open_streams)
    return Parts(
        settings=settings,
        database=database,
        writer=writer,
        store=store,
        sink=Sink(store),
        admission=admission,
        arrivals=Arrivals(),
        dispatcher=dispatcher,
        audit=AuditQueue(writer.run),
        board=board,
        watch=watch,
        events=events,
        keys=Keys(admin_token=admin_token(settings), secret=secret),
        metrics=metrics,
        list_limiter=CapacityLimiter(LIST_THREADS),
    )


class Service:
    """One HTTP service and the worker beside it: what ``serve`` starts, tells to stop, and stops."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = open_database(settings)
        self._store = open_store(settings)
        check_owner(settings, self._database)
        self._writer = GroupWriter(self._database, self._store)
        self._worker = EmbeddedWorker(work_settings(settings), self._writer.run) if settings.embedded_worker else None
        dispatcher = self._worker or NoDispatcher()
        self.parts = make_parts(settings, self._database, self._store, self._writer, dispatcher)
        path = settings.audit_log_file
        self._audit_log = _AuditLog(AuditFile(Path(path), self._database)) if path else None
        self._checkpointer = Checkpointer(self._database)
        run = self._checkpointer.run
        self._checkpoints = Loop("moving the write-ahead log", run, pause_seconds=CHECKPOINT_SECONDS)
        self._stopping: asyncio.Task[None] | None = None

    def sweep_at_start(self) -> None:
        """Take up what the last process left: its jobs at once, blaming nobody, and uploads that became no job."""
        sweeper = _sweeper(self._settings, self._database, self._store)
        sweeper.rows()
        sweeper.files(source_grace_seconds=0)

    async def start(self) -> None:
        """Begin to write and to work."""
        self._writer.start()
        self._checkpoints.start()
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
        await self.parts.audit.close()
        self._writer.stop()
        self._checkpoints.stop()
        self._checkpointer.close()
        if self._audit_log is not None:
            self._audit_log.stop()
        self.parts.sink.close()
        self.parts.board.close()
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
        except (OSError, DBAPIError) as error:
            _log.warning("the audit log file lacks the last events: %s", error)
        self._file.close()


def _sweeper(settings: Settings, database: Database, store: LocalFiles) -> Sweeper:
    settings_of_work = work_settings(settings)
    return Sweeper(database, store, LifeLocks(Path(settings_of_work.locks_dir)), settings_of_work)


def sweep(settings: Settings, *, trusts_clock: bool = False) -> dict[str, int]:
    """Do the sweep's duties once; return how much of each there was. ``trusts_clock``: the wall clock is right."""
    prepare(settings)
    database = open_database(settings)
    try:
        keep_time(database, is_trusted=trusts_clock)
        store = open_store(settings)
        check_owner(settings, database)
        sweeper = _sweeper(settings, database, store)
        rows, files = sweeper.rows(), sweeper.files(source_grace_seconds=settings.orphan_grace_seconds)
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
    """Run a worker without HTTP until told to stop."""
    logs.configure(log_format=settings.log_format, level=settings.log_level, context=dict)
    prepare(settings)
    run_standalone(work_settings(settings))
