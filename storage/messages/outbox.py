"""Messages that tell of a job's end: whom to tell, the messages themselves, and what owners see and ask of them.

They are made in the transaction that ends the job, by every final transition, so that neither can be without the other,
and they go with their job. What senders do stands in ``deliveries``. All functions take the caller's open transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, bindparam, exists, func, insert, select, update

from storage.database import Now, Prepared
from storage.errors import MessageNotFound, MessageUnderWay, TooManyReplays
from storage.ids import random_id
from storage.lifecycle import MessageKind, MessageStatus
from storage.models import deliveries, jobs, outbox, status_literal, subscribers

MAX_REPLAYS = 20
"""Of one message. Each may cost seven deliveries: nobody may use this service to knock at others for ever."""

MAX_SHOWN = 100
"""Deliveries of one message in a list: the last ones."""

_PENDING = status_literal(MessageStatus.PENDING)
_KEPT_BACK = frozenset(
    {"manage_key_digest", "lease_owner", "lease_expires_at", "result_key", "caller", "fair_key", "turn", "retries"}
)
"""Columns of a job that nobody outside may see; a message holds the others."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody to tell when a job has ended."""

    kind: MessageKind
    target: str
    """A URL, or an address of e-mail."""
    receiver: str
    """Who answers there: the URL's host; for e-mail the host of the mail server. Deliveries to one are limited."""
    language: str


_SUBSCRIBE = insert(subscribers)


def subscribe(connection: Connection, job_seq: int, whom: Iterable[Subscriber]) -> None:
    """Have these told when the job ends; call it once, in the transaction that makes the job."""
    rows = [{"job_seq": job_seq, "position": position} | asdict(one) for position, one in enumerate(whom)]
    if rows:
        connection.execute(_SUBSCRIBE, rows)


# Compiled once: asked at the end of every job, and most have nobody to tell.
_SUBSCRIBED = Prepared(
    select(subscribers.c.kind, subscribers.c.target, subscribers.c.receiver, subscribers.c.language)
    .where(subscribers.c.job_seq == bindparam("job"))
    .order_by(subscribers.c.position)
)
_ENDED = select(jobs).where(jobs.c.seq == bindparam("job"))
_ADD = insert(outbox).values(status=_PENDING, run_at=Now(), created_at=Now())


def add_for_ended(connection: Connection, job_seq: int) -> None:
    """Add a message for each subscriber of a job, in the transaction that has just ended it and after that change.

    Each is told once that it has succeeded, failed or been cancelled, however often it is run again and ends so.
    """
    subscribed = [Subscriber(*one) for one in _SUBSCRIBED.run(connection, {"job": job_seq})]
    if not subscribed:
        return
    row = connection.execute(_ENDED, {"job": job_seq}).mappings().one()
    told = _told(connection, job_seq, row["status"])
    message = {"job_seq": job_seq, "payload": _payload(row)}
    untold = [one for one in subscribed if (one.kind, one.target) not in told]
    if untold:
        connection.execute(_ADD, [message | {"id": random_id()} | asdict(one) for one in untold])


def _told(connection: Connection, job_seq: int, status: str) -> set[tuple[str, str]]:
    """Return kind and target of the messages that tell of this end already."""
    query = select(outbox.c.kind, outbox.c.target, outbox.c.payload).where(outbox.c.job_seq == job_seq)
    messages = connection.execute(query).all()
    return {(message.kind, message.target) for message in messages if json.loads(message.payload)["status"] == status}


def _payload(row: RowMapping) -> str:
    return json.dumps({name: value for name, value in row.items() if name not in _KEPT_BACK}, ensure_ascii=False)


def has_pending() -> ColumnElement[bool]:
    """Return the condition that a row of ``jobs`` has a message that is still to be sent."""
    return exists().where(outbox.c.job_seq == jobs.c.seq, outbox.c.status == _PENDING)


_OTHERS = deliveries.alias("others")
_OF_JOB = select(jobs.c.seq).where(jobs.c.id == bindparam("job")).scalar_subquery()
# Only what is pending has a lease.
_IS_UNDER_WAY = and_(outbox.c.lease_expires_at.is_not(None), outbox.c.lease_expires_at >= Now())
_THE_MESSAGE = and_(outbox.c.id == bindparam("message"), outbox.c.job_seq == _OF_JOB)
_REPLAY = (
    update(outbox)
    .where(_THE_MESSAGE, ~_IS_UNDER_WAY, outbox.c.replays < MAX_REPLAYS)
    .values(
        status=_PENDING,
        run_at=Now(),
        tries=0,
        replays=outbox.c.replays + 1,
        # A lease that is over; its sender may not end what begins now.
        lease_owner=None,
        lease_expires_at=None,
        ended_at=None,
    )
)
_REPLAYS = select(outbox.c.replays).where(_THE_MESSAGE)


def replay(connection: Connection, job_id: str, message_id: str) -> None:
    """Have a message of this job sent again, from the first try on; one that waits for its next try, now.

    Raises:
        MessageNotFound: the job has no such message.
        TooManyReplays: it was replayed ``MAX_REPLAYS`` times.
        MessageUnderWay: a delivery has begun and not ended; what it comes to would undo the replay.
    """
    which = {"job": job_id, "message": message_id}
    if connection.execute(_REPLAY, which).rowcount:
        return
    replays: int | None = connection.execute(_REPLAYS, which).scalar_one_or_none()
    if replays is None:
        raise MessageNotFound(message_id)
    raise TooManyReplays(message_id) if replays >= MAX_REPLAYS else MessageUnderWay(message_id)


def messages_of(connection: Connection, job_id: str) -> list[RowMapping]:
    """Return the messages of a job, first one first."""
    query = select(outbox).join(jobs, jobs.c.seq == outbox.c.job_seq).where(jobs.c.id == job_id)
    return list(connection.execute(query.order_by(outbox.c.seq)).mappings())


def deliveries_of(connection: Connection, job_id: str) -> list[RowMapping]:
    """Return the last ``MAX_SHOWN`` deliveries of each message of a job, first one first."""
    last = select(func.max(_OTHERS.c.number)).where(_OTHERS.c.message_id == deliveries.c.message_id).scalar_subquery()
    query = select(deliveries).join(outbox, outbox.c.id == deliveries.c.message_id)
    query = query.join(jobs, jobs.c.seq == outbox.c.job_seq).where(jobs.c.id == job_id)
    query = query.where(deliveries.c.number > last - MAX_SHOWN)
    return list(connection.execute(query.order_by(outbox.c.seq, deliveries.c.number)).mappings())


def pending(connection: Connection) -> dict[str, int]:
    """Return how many messages of each kind are still to be sent."""
    query = select(outbox.c.kind, func.count()).where(outbox.c.status == _PENDING).group_by(outbox.c.kind)
    return {row[0]: row[1] for row in connection.execute(query)}
