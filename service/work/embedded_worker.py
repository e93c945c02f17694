"""The parent's side of a worker: starts the child process, wakes it, starts it again when it dies or hangs, stops it.

Lives in the event loop of the service, or of ``vacpack work``. The child is spawned, never forked from a process with
threads, and it ends by itself when the pipe from its parent ends.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from service.failures import WorkerEnd
from service.work.child_process import COMMAND, Child, spawn
from service.work.child_watch import KILL_SECONDS, End, watch
from service.work.hang_judge import HangJudge
from service.work.life_lock import LifeLock, LifeLocks
from service.work.work_settings import WorkSettings
from storage.errors import StorageLost
from storage.ids import random_id
from storage.jobs.job_rescue import rescue_worker
from storage.jobs.worker_table import unregister

T = TypeVar("T")

STEADY_SECONDS = 10.0
"""A child that lived so long is started again at once; one that died sooner, after a pause."""

STEADY_HANGS = 10
"""The same for one that hung, in times of what it takes to see that: all that hang live so long."""

SILENCE_SHARE = 0.75
"""Of a lease: a worker that says nothing for a whole one has lost its jobs whatever it may be at; and it is known here,
as nowhere else, that this is a death, for which nobody but a job alone is to blame."""

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
KEEP_SECONDS = 1.0
"""How often a living worker's lock is looked after."""

_log = logging.getLogger(__name__)


class RunTransaction(Protocol):
    """Runs one change in a durable transaction, somewhere that does not hold the event loop."""

    def __call__(self, change: Callable[[Connection], T], /) -> Awaitable[T]:
        """Return what ``change`` returns; raises what it or the database raises."""
        ...


class EmbeddedWorker:
    """A supervised worker process; a ``Dispatcher``. Start it once, stop it once, in one event loop."""

    def __init__(
        self,
        settings: WorkSettings,
        run_transaction: RunTransaction,
        *,
        command: Sequence[str] = COMMAND,
        on_replaced: Callable[[WorkerEnd], object] = lambda reason: None,
    ) -> None:
        """``command`` starts the child; the worker's id is added to it.

        ``on_replaced`` is given the reason each time that one has ended which should not.
        """
        self._on_replaced = on_replaced
        self._settings = settings
        self._run_transaction = run_transaction
        self._command = command
        self._locks = LifeLocks(Path(settings.locks_dir))
        self._child: Child | None = None
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to keep a child running. Does not wait for it: see ``ready``."""
        self._task = asyncio.create_task(self._supervise(), name="worker supervisor")

    async def ready(self) -> int:
        """Wait until a child works; return its process id."""
        while (child := self._child) is None or not self._ready.is_set():
            await self._ready.wait()
        return child.process.pid

    def wake(self) -> None:
        """As ``Dispatcher.wake``; from any thread."""
        child = self._child
        if child is not None:
            child.pipe.wake()

    async def stop(self, grace_seconds: float) -> None:
        """Have the child drain; kill it when the grace is over. What it still held is queued again, nobody blamed."""
        self._stopping.set()
        if self._task is None:
            return
        self._signal(signal.SIGTERM)
        await asyncio.wait({self._task}, timeout=grace_seconds)
        if not self._task.done():
            self._signal(signal.SIGKILL)
            await asyncio.wait({self._task}, timeout=KILL_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.process.returncode is None:
            self._child.process.send_signal(number)

    async def _supervise(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            steady_seconds = STEADY_SECONDS
            try:
                end = await self._run_child(random_id())
                steady_seconds = self._steady_seconds(end)
            except Exception:
                # Whatever it is: a service without a worker takes files and never compresses one.
                _log.exception("no worker can be started")
            deaths = 0 if time.monotonic() - began >= steady_seconds else deaths + 1
            await self._pause(_pause_seconds(deaths))

    def _steady_seconds(self, end: End) -> float:
        return STEADY_SECONDS if end.reason is WorkerEnd.DIED else STEADY_HANGS * self._settings.hang_seconds

    async def _run_child(self, worker_id: str) -> End:
        """Run one child from its start to its end, and take up what it left."""
        lock = self._locks.take(worker_id)
        # Nothing is held before there is a child.
        is_taken_up = True
        try:
            child = self._child = await spawn([*self._command, worker_id], self._settings, lock.fd)
            if self._stopping.is_set():
                child.process.terminate()
            keeping = asyncio.create_task(_keep(lock))
            is_taken_up = False
            try:
                end = await self._watch(child)
                is_taken_up = await self._bury(worker_id, end)
            finally:
                keeping.cancel()
        finally:
            if is_taken_up:
                lock.end()
            else:
                lock.leave()
        return end

    async def _watch(self, child: Child) -> End:
        try:
            return await watch(child, self._judge(), on_ready=self._ready.set, is_stopping=self._stopping.is_set)
        finally:
            self._ready.clear()
            self._child = None
            child.close()

    def _judge(self) -> HangJudge:
        hang_seconds = self._settings.hang_seconds
        silence_seconds = min(hang_seconds, SILENCE_SHARE * self._settings.lease_milliseconds / 1000)
        return HangJudge(hang_seconds=hang_seconds, silence_seconds=silence_seconds)

    async def _bury(self, worker_id: str, end: End) -> bool:
        """Take up what a child held that has ended, and tell of its end; return whether that was taken up."""
        is_blamed = end.code != 0 and not self._stopping.is_set()
        if is_blamed:
            self._on_replaced(end.reason)
        left = await self._take_up(worker_id, is_blamed=is_blamed)
        level = logging.WARNING if is_blamed else logging.INFO
        _log.log(level, "worker ended", extra={"ended_worker": worker_id, "by": end.cause, "jobs_left": left})
        return left is not None

    async def _take_up(self, worker_id: str, *, is_blamed: bool) -> int | None:
        """Rescue the jobs of a dead child; return how many there were.

        Tried for as long as the database is away; None if told to stop meanwhile.
        """

        def change(connection: Connection) -> int:
            limit = self._settings.max_worker_losses
            left = rescue_worker(connection, worker_id, is_blamed=is_blamed, max_losses=limit)
            unregister(connection, worker_id)
            return len(left)

        failures = 0
        while True:
            try:
                return await self._run_transaction(change)
            except (SQLAlchemyError, StorageLost):
                failures += 1
                if failures == 1:
                    _log.warning("what a dead worker held cannot be taken up yet", exc_info=True)
                if self._stopping.is_set():
                    return None
                await asyncio.sleep(_pause_seconds(failures + 1))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), timeout=seconds)


async def _keep(lock: LifeLock) -> None:
    """Make a lock again that was removed, as often as it takes."""
    while True:
        await asyncio.sleep(KEEP_SECONDS)
        # Its folder's folder is away: everything is, and others say so.
        with suppress(OSError):
            lock.keep()


def _pause_seconds(deaths: int) -> float:
    """Return the pause after so many deaths in a row that came soon: none after the first."""
    return min(FIRST_PAUSE_SECONDS * 2 ** (deaths - 2), LONGEST_PAUSE_SECONDS) if deaths > 1 else 0.0
