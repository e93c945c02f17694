"""Audit events on their way: who asked, events of queries that wait for the table, and an event as people read it.

Changes write theirs in their own transaction (``commands``). Queries change nothing and must not wait for the disk:
their events are recorded here at once and written together a moment later.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from storage import audit_table
from storage.audit_table import Action, Actor, NewEvent

GATHER_SECONDS = 0.1
"""How long events wait for others. Each commit makes all statuses be looked at again, so few of them are better."""

BATCH = 500
"""Events in one transaction: a few milliseconds of the database's lock."""

MAX_WAITING = 50_000
"""Events kept while the database cannot be written, about 25 MiB; more than its longest wait for the lock brings."""

RETRY_SECONDS = 1.0

_log = logging.getLogger("vacpack.audit")


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks for a change, and by which request."""

    actor: Actor
    request_id: str | None = None
    client: str | None = None
    """The address it came from."""

    def event(
        self, action: Action, job_id: str | None = None, *, status: int, details: Mapping[str, Any] | None = None
    ) -> NewEvent:
        """Return the event of what was asked, answered with this HTTP status."""
        return NewEvent(action, self.actor, job_id, self.request_id, self.client, status, details or {})


Apply = Callable[[Connection], None]


class AuditQueue:
    """Events of one event loop that wait to be written. What waits is lost only with the process."""

    def __init__(self, run: Callable[[Apply], Awaitable[None]]) -> None:
        """``run`` commits a change: the group writer's."""
        self._run = run
        self._waiting: deque[tuple[float, NewEvent]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._lost = 0

    def record(self, event: NewEvent) -> None:
        """Have this event written soon. Never blocks, never fails; beyond ``MAX_WAITING`` it is lost, and logged so."""
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append((time.monotonic(), event))
        if self._task is None or self._task.done():
            # It ends by itself when nothing waits any more.
            self._task = asyncio.create_task(self._write_all())

    async def close(self) -> None:
        """Write what waits; nothing is recorded any more."""
        self._closing.set()
        if self._task is not None and not self._task.done():
            await self._task
        # What a task that was cut off has left.
        await self._write_all()
        self._tell_lost(self._lost + len(self._waiting))

    async def _write_all(self) -> None:
        pause = GATHER_SECONDS
        while self._waiting:
            await self._pause(pause)
            pause = 0 if await self._write_some() else RETRY_SECONDS
            if pause and self._closing.is_set():
                return

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _write_some(self) -> bool:
        """Write a batch; return whether it is committed."""
        batch = list(islice(self._waiting, BATCH))
        now = time.monotonic()

        def write(connection: Connection) -> None:
            for recorded_at, event in batch:
                audit_table.add(connection, event, age_milliseconds=round(1000 * (now - recorded_at)))

        try:
            await self._run(write)
        except Exception as error:
            _log.warning("audit events could not be written just now: %s", getattr(error, "orig", error))
            return False
        for _ in batch:
            self._waiting.popleft()
        lost, self._lost = self._lost, 0
        self._tell_lost(lost)
        return True

    def _tell_lost(self, count: int) -> None:
        if count:
            _log.error("audit events were lost, the database could not be written: %d", count)


def event_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as the API, the command and the log file tell it."""
    moment = datetime.fromtimestamp(row["at"] / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "id": row["id"],
        "at": moment.replace("+00:00", "Z"),
        "action": row["action"],
        "actor": row["actor"],
        "job": row["job_id"],
        "status": row["status"],
        "client": row["client"],
        "request_id": row["request_id"],
        "details": json.loads(row["details"]),
    }


_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(32), *range(127, 160))}
"""What a terminal would obey, as JSON writes it; JSON itself leaves the upper half as it is."""


def event_json(row: Mapping[str, Any]) -> str:
    """Return the same as one line of JSON, without its end and safe to show in a terminal."""
    return json.dumps(event_document(row), ensure_ascii=False).translate(_CONTROLS)


def event_text(row: Mapping[str, Any]) -> str:
    """Return the same as one line for people, in columns."""
    event = event_document(row)
    job, status, client = (event[name] or "-" for name in ("job", "status", "client"))
    details = " ".join(f"{name}={value}" for name, value in event["details"].items())
    line = f"{event['at']}  {event['action']:19}  {event['actor']:10}  {job:26}  {status:>3}  {client:15}  {details}"
    return line.rstrip().translate(_CONTROLS)
