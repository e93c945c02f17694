"""A supervised worker without HTTP: what ``vacpack work`` runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from service.machine.database_retry import end_of_writing
from service.machine.loop import Loop
from service.work.child_process import COMMAND
from service.work.embedded_worker import EmbeddedWorker
from service.work.lease_upkeep import lease_upkeep
from service.work.sweep import Sweeper
from service.work.work_settings import WorkSettings
from storage.checkpointer import PAUSE_SECONDS, Checkpointer
from storage.database import Database

T = TypeVar("T")


RESERVE_SECONDS = 2.0
"""Between looks at the reserve: one call each of ``open``, ``stat`` and ``statvfs``."""


def reserve_loop(database: Database) -> Loop:
    """Return the loop that keeps the database's reserve whole."""
    return Loop("keeping the reserve", database.reserve.keep, pause_seconds=RESERVE_SECONDS)


def run_standalone(
    settings: WorkSettings, database: Database, sweeper: Sweeper | None = None, *, command: Sequence[str] = COMMAND
) -> None:
    """Keep a worker running until SIGTERM or SIGINT, then drain it and return; ``sweeper`` takes up lapsed leases."""
    asyncio.run(_run(settings, database, sweeper, command))


async def _run(settings: WorkSettings, database: Database, sweeper: Sweeper | None, command: Sequence[str]) -> None:
    async def run_transaction(change: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(database.free, change)

    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    worker = EmbeddedWorker(settings, run_transaction, command=command)
    checkpoints = Loop("moving the write-ahead log", Checkpointer(database).run, pause_seconds=PAUSE_SECONDS)
    upkeep = [lease_upkeep(sweeper, worker.wake)] if sweeper else []
    loops = [checkpoints, reserve_loop(database), *upkeep]
    for loop in loops:
        loop.start()
    await worker.start()
    await told_to_stop.wait()
    database.end_by(end_of_writing(settings.shutdown_grace_seconds))
    await worker.stop(settings.shutdown_grace_seconds)
    for loop in loops:
        loop.stop()
    database.close()
