"""Uploads that are still arriving under an ``Idempotency-Key``: a repeat takes over from the older request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import IDEMPOTENCY_MISMATCH, SUPERSEDED, ServiceError
from storage.jobs.idempotency import IdempotentRequest


class Arrival:
    """One request with a key, while its bytes arrive."""

    def __init__(self, request: IdempotentRequest, task: asyncio.Task[None]) -> None:
        self.request = request
        self.done = asyncio.Event()
        self.is_superseded = False
        self._is_committing = False
        self._task = task

    def begin_commit(self) -> None:
        """From here on the request runs to its end: a repeat waits and is given its job."""
        self._is_committing = True

    def supersede(self) -> None:
        """Interrupt the request, unless it is at its end."""
        if not self._is_committing and not self.is_superseded:
            self.is_superseded = True
            self._task.cancel()


class Arrivals:
    """The requests with keys that are arriving in this process; an unfinished one dies with it."""

    def __init__(self) -> None:
        self._arrivals: dict[str, Arrival] = {}

    @asynccontextmanager
    async def enter(self, request: IdempotentRequest | None) -> AsyncIterator[Arrival | None]:
        """Enter a request, after the older one with its key has stopped or ended.

        Raises:
            ServiceError: idempotency_mismatch; or superseded, inside, when a newer one takes over.
        """
        task = asyncio.current_task()
        if request is None or task is None:
            yield None
            return
        await self._end_older(request)
        arrival = self._arrivals[request.key_digest] = Arrival(request, task)
        try:
            yield arrival
        except asyncio.CancelledError:
            if not arrival.is_superseded:
                raise
            task.uncancel()
            raise ServiceError(SUPERSEDED, "The newer request goes on; this one was stopped.") from None
        finally:
            del self._arrivals[request.key_digest]
            arrival.done.set()

    async def _end_older(self, request: IdempotentRequest) -> None:
        while older := self._arrivals.get(request.key_digest):
            if older.request.fingerprint != request.fingerprint:
                detail = "The key is in use by another request that is still arriving."
                raise ServiceError(IDEMPOTENCY_MISMATCH, detail)
            older.supersede()
            await older.done.wait()
