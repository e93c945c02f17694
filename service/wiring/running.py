"""One HTTP service and the worker beside it, from start to stop."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from service.audit_file import PAUSE_SECONDS, AuditFile
from service.failures import WorkerEnd
from service.intake.dispatch import NoDispatcher
from service.machine.allocator import BUSY_ROUNDS, give_back
from service.machine.allocator import PAUSE_SECONDS as GIVE_BACK_SECONDS
from service.machine.database_retry import end_of_writing
from service.machine.lookout import LOOK_SECONDS, Lookout
from service.machine.loop import Loop
from service.settings import Settings
from service.start.holdings import DataFolder, own_files
from service.wiring.parts import make_connections, make_parts
from service.wiring.stores import check_scanner, make_sweeper, open_database, open_store
from service.work.embedded_worker import EmbeddedWorker
from service.work.lease_upkeep import lease_upkeep
from service.work.standalone import reserve_loop
from service.work.work_settings import work_settings
from storage.checkpointer import PAUSE_SECONDS as CHECKPOINT_SECONDS
from storage.checkpointer import Checkpointer
from storage.errors import StorageError
from storage.group_writer import GroupWriter

_log = logging.getLogger("vacpack.audit")


class Service:
    """One HTTP service and the worker beside it: what ``serve`` starts, tells to stop, and stops."""

    def __init__(self, settings: Settings, data_folder: DataFolder | None = None) -> None:
        """Take the files, as their one service with ``data_folder``, which ``served_alone`` gives.

        Raises:
            CannotStart: as ``own_files``; or uploads are to be scanned by what cannot be run.
        """
        self._settings = settings
        if settings.embedded_worker:
            check_scanner(settings)
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
        self._upkeep = lease_upkeep(make_sweeper(settings, self._database, self._store), dispatcher.wake)
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
        sweeper = make_sweeper(self._settings, self._database, self._store, receives_alone=self._owner.is_serving)
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
