"""Who did what, when, and how it was answered: one row an event. All functions take the caller's open transaction.

An event of a change is added in the transaction that makes the change; those of queries come a moment later, in
batches (``service.audit``). Events name jobs by text and outlive them; time and their number remove them (``prune``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, delete, func, insert, literal, or_, select

from storage.database import Now, Prepared, Proven
from storage.models import audit_events, jobs


class Action(StrEnum):
    """What is audited. The list is closed: whoever reads events may rely on knowing all."""

    JOB_SUBMITTED = "job.submitted"
    JOB_CANCELLED = "job.cancelled"
    JOB_RETRIED = "job.retried"
    JOB_DELETED = "job.deleted"
    JOB_EXPIRED = "job.expired"
    RESULT_DAMAGED = "result.damaged"
    RESULT_REPAIRED = "result.repaired"
    MESSAGE_REPLAYED = "message.replayed"
    JOBS_LISTED = "jobs.listed"
    JOBS_SEARCHED = "jobs.searched"
    RESULT_DOWNLOADED = "result.downloaded"
    ORIGINAL_DOWNLOADED = "original.downloaded"
    DELIVERIES_READ = "deliveries.read"
    AUDIT_READ = "audit.read"
    KEY_REFUSED = "key.refused"

    @property
    def is_query(self) -> bool:
        """Whether it changes nothing."""
        return self in _QUERIES


_QUERIES = frozenset(
    {
        Action.JOBS_LISTED,
        Action.JOBS_SEARCHED,
        Action.RESULT_DOWNLOADED,
        Action.ORIGINAL_DOWNLOADED,
        Action.DELIVERIES_READ,
        Action.AUDIT_READ,
    }
)


class Actor(StrEnum):
    """What a request brought to be allowed something; nobody's name, as there are no accounts."""

    ADMIN = "admin"
    MANAGE_KEY = "manage_key"
    JOB_ID = "job_id"
    ANONYMOUS = "anonymous"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One event as it is written. ``status`` is that of the HTTP answer; the system's own events have none."""

    action: Action
    actor: Actor
    job_id: str | None = None
    request_id: str | None = None
    client: str | None = None
    status: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a list shows."""

    action: Action | None = None
    job_id: str | None = None
    before_id: int | None = None
    limit: int = 50


MAX_DETAILS_BYTES = 300
"""Of one event, as JSON. What clients write is theirs to choose, and the disk is not."""

_GIVEN = ("action", "actor", "job_id", "request_id", "client", "status", "details")
# Compiled once: each upload adds an event.
_ADD = Prepared(
    insert(audit_events).values(
        {name: bindparam(name) for name in _GIVEN} | {"at": Now() - bindparam("age_milliseconds", type_=BigInteger)}
    )
)


def add(connection: Connection, event: NewEvent, *, age_milliseconds: int = 0) -> None:
    """Write an event that happened so long ago."""
    _ADD.run(
        connection,
        {
            "action": str(event.action),
            "actor": str(event.actor),
            "job_id": event.job_id,
            "request_id": event.request_id,
            "client": event.client,
            "status": event.status,
            "details": _bounded(event.details) if event.details else "{}",
            "age_milliseconds": age_milliseconds,
        },
    )


def _bounded(details: Mapping[str, Any]) -> str:
    """Return the details as JSON of at most ``MAX_DETAILS_BYTES``; the longest texts are cut, with an ellipsis."""
    kept = dict(details)
    while len((text := json.dumps(kept, ensure_ascii=False)).encode("utf-8", "replace")) > MAX_DETAILS_BYTES:
        texts = [name for name, value in kept.items() if isinstance(value, str) and len(value) > 1]
        if not texts:
            return "{}"
        longest = max(texts, key=lambda name: len(kept[name]))
        kept[longest] = kept[longest][: len(kept[longest]) // 2].rstrip("…") + "…" * (len(kept[longest]) > 3)
    return text


def add_expired(connection: Connection, seqs: Sequence[int]) -> None:
    """Write that these jobs have expired."""
    expired = select(Now(), literal(str(Action.JOB_EXPIRED)), literal(str(Actor.SYSTEM)), jobs.c.id)
    columns = ("at", "action", "actor", "job_id")
    connection.execute(insert(audit_events).from_select(columns, expired.where(jobs.c.seq.in_(seqs))))


def list_events(connection: Connection, wanted: EventFilter) -> list[dict[str, Any]]:
    """Return events, newest first."""
    query = select(audit_events).order_by(audit_events.c.id.desc()).limit(wanted.limit)
    if wanted.action is not None:
        query = query.where(audit_events.c.action == str(wanted.action))
    if wanted.job_id is not None:
        query = query.where(audit_events.c.job_id == wanted.job_id)
    if wanted.before_id is not None:
        query = query.where(audit_events.c.id < wanted.before_id)
    return [dict(row) for row in connection.execute(query).mappings()]


def events_after(connection: Connection, event_id: int, *, limit: int) -> list[dict[str, Any]]:
    """Return the events committed after this one, oldest first. SQLite has one writer: none can come in between."""
    query = select(audit_events).where(audit_events.c.id > event_id).order_by(audit_events.c.id).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def last_event_id(connection: Connection) -> int:
    """Return the id of the newest event, 0 if there is none."""
    newest: int | None = connection.execute(select(func.max(audit_events.c.id))).scalar_one()
    return newest or 0


def prune(connection: Connection, *, older_than_milliseconds: int, keep: int, limit: int) -> int:
    """Remove those of the ``limit`` oldest events that are older than that, or beyond the ``keep`` newest.

    Return how many. Found by their ids, which grow with time: an index on the time itself would be one more to write
    for each event, and counting all of them one more thing to wait for.
    """
    oldest = select(audit_events.c.id, audit_events.c.at).order_by(audit_events.c.id).limit(limit).subquery()
    last_over = last_event_id(connection) - keep
    over = select(oldest.c.id).where(or_(oldest.c.at < Proven() - older_than_milliseconds, oldest.c.id <= last_over))
    removed: int = connection.execute(delete(audit_events).where(audit_events.c.id.in_(over))).rowcount
    return removed
