"""The desk: where what clients change is changed. Each change goes the same way, whichever door it came in by.

It is committed together with its audit event, by the group writer; then the request is told that the event stands;
then files that no row names are removed; and when the answer has left, the worker is woken. Nothing after the commit
can undo it: a wake that is lost, and files that stay, are found by looking.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from service.audit import Requester
from service.errors import ServiceError
from service.intake import commands
from service.intake.admission import Admission
from service.intake.commands import Made, Submission
from service.intake.dispatch import Dispatcher
from service.intake.sink import Received, Sink
from storage.audit_table import Actor
from storage.database import is_undone
from storage.group_writer import GroupWriter
from storage.lifecycle import JobStatus

T = TypeVar("T")


class Asker(Protocol):
    """A request for a change, as its audit event sees it."""

    @property
    def requester(self) -> Requester:
        """Who asks."""

    def written(self) -> None:
        """Be told that the event is committed, with the change."""


class Afterwards(Protocol):
    """What is done when the answer has left: the framework's ``BackgroundTasks``."""

    def add_task(self, func: Callable[[], Awaitable[None]]) -> None:
        """Do this then."""


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often a job is tried again."""

    max_attempts: int
    """In each round."""
    max_retries: int
    """Rounds that clients may ask for."""


class Desk:
    """Makes the changes. Belongs to one event loop."""

    def __init__(
        self, writer: GroupWriter, sink: Sink, dispatcher: Dispatcher, admission: Admission, limits: RetryLimits
    ) -> None:
        self._writer = writer
        self._admission = admission
        self._sink = sink
        self._dispatcher = dispatcher
        self._limits = limits

    async def submit(
        self, submission: Submission, received: Sequence[Received], *, by: Asker, after: Afterwards
    ) -> Made:
        """Make the job of files that have been received, or find the one that an earlier request made.

        Only a refusal removes the files: a commit nobody waits for any more may still happen. Nor are they let go then:
        no sweep takes them while this process lives. After an error of the commit itself sweeps may, by their rows.

        Raises:
            ServiceError: as ``commands.submit``. Others: as ``GroupWriter.run``.
        """
        unstored = [file for one in received for file in one.unstored]
        stored = [one.key for one in received if one.chunks is None]
        try:
            change = partial(commands.submit, submission=submission, by=by.requester)
            made = await self._writer.run(change, unstored, needs=stored)
        except Exception as error:
            if isinstance(error, ServiceError) or is_undone(error):
                await self._sink.discard(received)
            self._sink.release(received)
            raise
        if made.row is None:
            await self._sink.discard(received)
        else:
            self._sink.release(received)
            by.written()
        after.add_task(self._wake)
        return made

    async def cancel(self, job_id: str, *, by: Asker, after: Afterwards) -> JobStatus:
        """Cancel a queued job, ask a running one to stop; return its status. Raises as ``commands.cancel``."""
        status = await self._changed(partial(commands.cancel, job_id=job_id, by=by.requester), by, frees=True)
        after.add_task(self._wake)
        return status

    async def retry(self, job_id: str, size_bytes: int, caller: str | None, *, by: Asker, after: Afterwards) -> None:
        """Queue a failed or cancelled job again, of so many bytes that ``caller`` has uploaded.

        It takes a place in the queue as an upload does, unless the admin asks.

        Raises:
            ServiceError: queue_full, address_share; as ``commands.retry``.
        """
        limits = self._limits
        change = partial(commands.retry, max_attempts=limits.max_attempts, max_retries=limits.max_retries)
        is_admin = by.requester.actor is Actor.ADMIN
        with nullcontext() if is_admin else self._admission.again(size_bytes, caller):
            await self._changed(partial(change, job_id=job_id, by=by.requester), by)
        after.add_task(self._wake)

    async def delete(self, job_id: str, *, by: Asker) -> None:
        """Remove the job and its files. Raises as ``commands.delete``."""
        keys = await self._changed(partial(commands.delete, job_id=job_id, by=by.requester), by, frees=True)
        await self._sink.remove(keys)

    async def replay(self, job_id: str, message_id: str, *, by: Asker, after: Afterwards) -> None:
        """Have a message of the job's end sent again. Raises as ``commands.replay``."""
        await self._changed(partial(commands.replay, job_id=job_id, message_id=message_id, by=by.requester), by)
        after.add_task(self._wake)

    async def _changed(self, change: Callable[..., T], by: Asker, *, frees: bool = False) -> T:
        made = await self._writer.run(change, frees=frees)
        by.written()
        return made

    async def _wake(self) -> None:
        # A coroutine: the framework would run a plain function in a thread.
        self._dispatcher.wake()
