"""Long-polls: requests held until a job changes. One look at the database for all of them, not one each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

from service.shares import Shares
from service.web.following.status_board import StatusBoard

LOOK_SECONDS = 0.1
"""How often ``data_version`` is read while anybody waits: 3 µs each."""


async def _never() -> None:
    await asyncio.Event().wait()


class ChangeWatch:
    """Wakes those who wait when a job they wait for may have changed, and everybody when the service drains."""

    def __init__(self, board: StatusBoard, *, max_waiting: int, max_per_address: int | None = None) -> None:
        self._board = board
        self._max_waiting = max_waiting
        self._max_per_address = max_waiting if max_per_address is None else max_per_address
        self._shares = Shares()
        self._waiting: set[asyncio.Event] = set()
        self._waited_for = 0
        self._seen = -1
        self._task: asyncio.Task[None] | None = None
        self.is_draining = False

    def drain(self) -> None:
        """Answer everybody now, and hold nobody from here on."""
        self.is_draining = True
        for event in self._waiting:
            event.set()

    async def wait_until(
        self,
        is_reached: Callable[[], bool],
        *,
        seconds: float,
        jobs: int = 1,
        caller: str | None = None,
        gone: Callable[[], Awaitable[object]] = _never,
    ) -> None:
        """Return when ``is_reached`` says so (asked after each commit), when time is over, or when the service drains.

        Beyond the most that may wait, or that one ``caller`` may, return at once; and when ``gone`` ends: the client
        has left. Who waits for several ``jobs`` counts as so many: each look costs 15 µs a job.
        """
        if self._is_over(is_reached) or self.limit_met(jobs, caller):
            return
        with self._held(jobs) as event, self._shares.holding(caller, jobs):
            leaving = asyncio.ensure_future(gone())
            leaving.add_done_callback(lambda _: event.set())
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        await event.wait()
                        event.clear()
                        if leaving.done() or self._is_over(is_reached):
                            return
            except TimeoutError:
                return
            finally:
                leaving.cancel()

    def limit_met(self, jobs: int, caller: str | None) -> str | None:
        """Return the name of the limit that keeps a caller from waiting for so many jobs more, if one does."""
        if self._waited_for + jobs > self._max_waiting:
            return "max_waiting_requests"
        is_over = caller is not None and self._shares.held(caller) + jobs > self._max_per_address
        return "max_waiting_requests_per_address" if is_over else None

    def _is_over(self, is_reached: Callable[[], bool]) -> bool:
        return self.is_draining or is_reached()

    @contextmanager
    def _held(self, jobs: int) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._waiting.add(event)
        self._waited_for += jobs
        if self._task is None or self._task.done():
            # No version yet: the first look has everybody ask again, for what was committed between asking and holding.
            self._seen = -1
            # It ends by itself when nobody waits any more.
            self._task = asyncio.create_task(self._look())
        try:
            yield event
        finally:
            self._waiting.discard(event)
            self._waited_for -= jobs

    async def _look(self) -> None:
        while self._waiting:
            await asyncio.sleep(LOOK_SECONDS)
            version = self._board.data_version()
            if version != self._seen:
                self._seen = version
                _set_all(self._waiting)


def _set_all(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()
