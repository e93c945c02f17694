"""Settings become concrete parts. The only module that names a backend."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote, urlsplit

from anyio import CapacityLimiter

from migrations import migrate
from service import logs
from service.admission import Admission, Limits
from service.dispatch import Dispatcher, NoDispatcher
from service.settings import Settings
from service.sink import Sink
from service.web.arrivals import Arrivals
from service.web.keys import Keys
from service.web.metrics import HttpMetrics
from service.web.parts import Parts
from service.web.status_board import StatusBoard
from service.web.waiting import ChangeWatch
from service.work.embedded_worker import EmbeddedWorker
from service.work.life_lock import LifeLocks
from service.work.standalone import run_standalone
from service.work.sweep import Sweeper
from service.work.work_settings import work_settings
from storage.database import Database
from storage.file_owner import MARKER, owns
from storage.file_system import FileSystem, sync_folder
from storage.group_writer import GroupWriter
from storage.job_views import Backlog, backlog
from storage.local_files import LocalFiles

LIST_THREADS = 4


class CannotStart(Exception):
    """Something about the data folder that its operator can mend; the text says what."""


class ForeignFiles(CannotStart):
    """The files belong to another database."""


class AlreadyServed(CannotStart):
    """Another service holds this data folder."""


def make_data_folder(settings: Settings) -> None:
    """Make the data folder and missing parents, mode 0700; what is stored is only as durable as the names above it.

    Raises:
        CannotStart: it cannot be made, or is something else.
    """
    folder = settings.data_dir
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in missing:
            sync_folder(FileSystem(), path.parent)
    except OSError as error:
        raise CannotStart(f"the data folder {folder} cannot be used: {error.strerror}") from error


def open_database(settings: Settings) -> Database:
    """Return the database, with its folder made."""
    make_data_folder(settings)
    return Database(settings.database_url)


def open_store(settings: Settings) -> LocalFiles:
    """Return the file store."""
    return LocalFiles(_files_folder(settings))


def _files_folder(settings: Settings) -> Path:
    return Path(unquote(urlsplit(settings.files_url).path))


def check_owner(settings: Settings, database: Database) -> None:
    """Refuse to work over files that belong to another database: a sweep would remove them.

    Raises:
        ForeignFiles: they do.
    """
    folder = _files_folder(settings)
    if not owns(database, folder):
        raise ForeignFiles(
            f"the files in {folder} belong to another database than {settings.database_url}. Where that one is gone, "
            f"remove {folder / MARKER} to go on; files that no job names are then removed"
        )


def prepare(settings: Settings, revision: str = "head") -> None:
    """Make the data folder and bring the schema to a revision, the newest by default."""
    make_data_folder(settings)
    migrate(settings.database_url, revision)


@contextmanager
def served_alone(settings: Settings) -> Iterator[None]:
    """Hold the data folder for one service; the kernel lets go when the process ends, however it ends.

    Raises:
        CannotStart: another process holds it, or it cannot be written.
    """
    make_data_folder(settings)
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


def admin_token(settings: Settings) -> str:
    """Return the admin token: as set, or made once and kept in the data folder, readable by its owner only."""
    return settings.admin_token.get_secret_value() or _kept_secret(settings.data_dir / "admin-token")


def _kept_secret(path: Path) -> str:
    try:
        # A file without its line end was not written whole: its maker died meanwhile.
        if (text := path.read_text()).endswith("\n"):
            return text.strip()
    except FileNotFoundError:
        pass
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(24) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return _kept_secret(path)


def make_parts(
    settings: Settings, database: Database, store: LocalFiles, writer: GroupWriter, dispatcher: Dispatcher
) -> Parts:
    """Return the parts of an HTTP service."""
    board = StatusBoard(database.reader, settings.public_url.rstrip("/"))
    limits = Limits(settings.max_upload_bytes, settings.max_queued_jobs, settings.min_free_bytes)

    def read_backlog() -> Backlog:
        with database.read() as connection:
            return backlog(connection)

    admission = Admission(limits, free_bytes=lambda: store.space().free_bytes, backlog=read_backlog)
    secret = bytes.fromhex(_kept_secret(settings.data_dir / "manage-secret"))
    return Parts(
        settings=settings,
        database=database,
        writer=writer,
        store=store,
        sink=Sink(store),
        admission=admission,
        arrivals=Arrivals(),
        dispatcher=dispatcher,
        board=board,
        watch=ChangeWatch(board, max_waiting=settings.max_waiting_requests),
        keys=Keys(admin_token=admin_token(settings), secret=secret),
        metrics=HttpMetrics(database, store),
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
        self._stopping: asyncio.Task[None] | None = None

    def sweep_at_start(self) -> None:
        """Take up what the last process left: its jobs at once, blaming nobody, and uploads that became no job."""
        sweeper = _sweeper(self._settings, self._database, self._store)
        sweeper.rows()
        sweeper.files(source_grace_seconds=0)

    async def start(self) -> None:
        """Begin to write and to work."""
        self._writer.start()
        if self._worker is not None:
            await self._worker.start()

    def begin_stop(self) -> None:
        """React to the signal: refuse uploads, answer who waits, let the worker finish what fits the grace."""
        self.parts.watch.drain()
        if self._worker is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self._worker.stop(self._settings.shutdown_grace_seconds))

    async def stop(self) -> None:
        """End everything, after the last request."""
        self.begin_stop()
        if self._stopping is not None:
            await self._stopping
        self._writer.stop()
        self.parts.sink.close()
        self.parts.board.close()
        self._database.close()


def _sweeper(settings: Settings, database: Database, store: LocalFiles) -> Sweeper:
    settings_of_work = work_settings(settings)
    return Sweeper(database, store, LifeLocks(Path(settings_of_work.locks_dir)), settings_of_work)


def sweep(settings: Settings) -> dict[str, int]:
    """Do the sweep's duties once; return how much of each there was."""
    prepare(settings)
    database = open_database(settings)
    try:
        store = open_store(settings)
        check_owner(settings, database)
        sweeper = _sweeper(settings, database, store)
        rows, files = sweeper.rows(), sweeper.files(source_grace_seconds=settings.orphan_grace_seconds)
    finally:
        database.close()
    return {name: count + getattr(files, name) for name, count in asdict(rows).items()}


def work(settings: Settings) -> None:
    """Run a worker without HTTP until told to stop."""
    logs.configure(log_format=settings.log_format, level=settings.log_level, context=dict)
    prepare(settings)
    run_standalone(work_settings(settings))
