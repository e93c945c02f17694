"""One upload from its first byte to its job, whoever receives its bytes: let in, received, submitted, or undone.

A door reads a request and says what it knows; this holds the room, the key and the files, and leaves nothing behind
where no job came of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from service.intake.admission import Admission, Reservation
from service.intake.arrivals import Arrival, Arrivals
from service.intake.commands import Made, Submission, earlier_job
from service.intake.desk import Afterwards, Asker, Desk
from service.intake.receipt import Receipt
from service.intake.sink import Sink
from storage.jobs.idempotency import IdempotentRequest


@dataclass(frozen=True, slots=True)
class Intake:
    """What every door needs."""

    admission: Admission
    arrivals: Arrivals
    sink: Sink
    desk: Desk


Read = Callable[[Callable[..., Any]], Awaitable[Any]]
"""Runs a query on a connection of its own, in a thread, and returns what it returned."""


class Upload:
    """One upload. A context manager of one task: at its end its key is free again."""

    def __init__(self, intake: Intake, caller: str | None, read: Read) -> None:
        """``caller`` is a key of ``service.caller``."""
        self.sink = intake.sink
        self.caller = caller
        self.receipt = Receipt()
        self._intake = intake
        self._read = read
        self._arrival: Arrival | None = None
        self._reservation: Reservation | None = None
        self._stack = AsyncExitStack()

    @property
    def reservation(self) -> Reservation:
        """The room it holds, from when it has been let in."""
        assert self._reservation is not None
        return self._reservation

    @property
    def request(self) -> IdempotentRequest | None:
        """The request that must make only one job, if it said so."""
        return self._arrival.request if self._arrival else None

    async def identify(self, request: IdempotentRequest) -> str | None:
        """Take over from an older request with this key; return the id of the job that it has made already, if any.

        The first key counts.

        Raises:
            ServiceError: idempotency_mismatch.
        """
        if self._arrival is not None:
            return None
        self._arrival = await self._stack.enter_async_context(self._intake.arrivals.enter(request))
        made: str | None = await self._read(partial(earlier_job, request=request))
        return made

    async def run(
        self,
        declared_bytes: int | None,
        receive: Callable[[], Awaitable[Submission]],
        *,
        by: Asker,
        after: Afterwards,
    ) -> Made:
        """Let the upload in, have its bytes received, and make the job of what ``receive`` returns of them.

        Raises:
            ServiceError: as ``Admission.admit``, ``Reservation.take`` and ``Desk.submit``. Others: as ``receive``.
        """
        self._reservation = self._intake.admission.admit(declared_bytes, self.caller)
        made = None
        try:
            async with self._undone_on_error():
                submission = await receive()
            if self._arrival is not None:
                self._arrival.begin_commit()
            made = await self._intake.desk.submit(submission, self.receipt.stored, by=by, after=after)
        finally:
            self._reservation.close(became_job=made is not None and made.row is not None)
        return made

    @asynccontextmanager
    async def _undone_on_error(self) -> AsyncIterator[None]:
        """Remove what was received if the block fails, for whatever reason."""
        try:
            yield
        except BaseException:
            await self.sink.discard(self.receipt.stored)
            raise

    async def __aenter__(self) -> Upload:
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)
