"""What senders do with messages: claim what is due under a lease, then say how the delivery ended.

Each change is one conditional UPDATE, fenced by the sender's lease; False means that another has it by now. All
functions take the caller's open transaction. At least once: a sender that dies after the other side took a message has
not said so, and the message is sent again, under the same id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    bindparam,
    exists,
    func,
    insert,
    select,
    update,
)

from storage.database import Now
from storage.lifecycle import DeliveryOutcome, MessageKind, MessageStatus
from storage.messages.due_messages import is_due
from storage.models import deliveries, delivery_totals, outbox, status_literal

_PENDING = status_literal(MessageStatus.PENDING)
_SENT = status_literal(MessageStatus.SENT)
_FAILED = status_literal(MessageStatus.FAILED)


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A message under a lease: what one delivery sends, and what fences it."""

    seq: int
    id: str
    kind: MessageKind
    target: str
    receiver: str
    language: str
    payload: str
    """JSON of the job's row as it was when it ended."""
    tries: int
    """1 is the first."""
    delivery: int
    """Number of this delivery; unlike ``tries`` it goes on after a replay."""
    sender: str


_CLAIM = (
    update(outbox)
    .where(outbox.c.seq == bindparam("message"), is_due(outbox))
    .values(
        tries=outbox.c.tries + 1,
        lease_owner=bindparam("sender"),
        lease_expires_at=Now() + bindparam("lease", type_=BigInteger),
    )
    .returning(outbox)
)
_OPEN = and_(deliveries.c.message_id == bindparam("message"), deliveries.c.ended_at.is_(None))
_INTERRUPT = update(deliveries).where(_OPEN).values(ended_at=Now(), outcome=DeliveryOutcome.INTERRUPTED)
_NUMBER = func.coalesce(func.max(deliveries.c.number), 0) + 1
_BEGIN = (
    insert(deliveries)
    .from_select(
        ["message_id", "number", "started_at"],
        select(bindparam("message"), _NUMBER, Now()).where(deliveries.c.message_id == bindparam("message")),
    )
    .returning(deliveries.c.number)
)


def claim(connection: Connection, sender: str, seq: int, *, lease_milliseconds: int) -> ClaimedMessage | None:
    """Take this message, which ``due_messages.find_due`` has found; None if it is not due any more."""
    values = {"sender": sender, "lease": lease_milliseconds, "message": seq}
    row = connection.execute(_CLAIM, values).mappings().one_or_none()
    return None if row is None else _begin(connection, row)


def _begin(connection: Connection, row: RowMapping) -> ClaimedMessage:
    # Left open by a sender whose lease ran out.
    if connection.execute(_INTERRUPT, {"message": row["id"]}).rowcount:
        _count(connection, row["kind"], DeliveryOutcome.INTERRUPTED)
    number: int = connection.execute(_BEGIN, {"message": row["id"]}).scalar_one()
    return ClaimedMessage(
        seq=row["seq"],
        id=row["id"],
        kind=MessageKind(row["kind"]),
        target=row["target"],
        receiver=row["receiver"],
        language=row["language"],
        payload=row["payload"],
        tries=row["tries"],
        delivery=number,
        sender=row["lease_owner"],
    )


@dataclass(frozen=True, slots=True)
class DeliveryEnd:
    """How a delivery ended: what is written down of it, and counted."""

    outcome: DeliveryOutcome
    status_code: int | None
    detail: str | None


def sent(connection: Connection, message: ClaimedMessage, end: DeliveryEnd) -> bool:
    """Record that the other side took the message."""
    return _end(connection, message, end, status=_SENT, ended_at=Now())


def reschedule(connection: Connection, message: ClaimedMessage, end: DeliveryEnd, *, pause_milliseconds: int) -> bool:
    """Record a delivery that failed; the message is due again after the pause."""
    return _end(connection, message, end, run_at=Now() + pause_milliseconds)


def failed(connection: Connection, message: ClaimedMessage, end: DeliveryEnd) -> bool:
    """Record that the message is given up."""
    return _end(connection, message, end, status=_FAILED, ended_at=Now())


def _end(connection: Connection, message: ClaimedMessage, end: DeliveryEnd, **changes: ColumnElement[Any]) -> bool:
    this = and_(deliveries.c.message_id == message.id, deliveries.c.number == message.delivery)
    # The delivery itself, not the try: after a replay tries come again.
    fence = and_(
        outbox.c.seq == message.seq,
        outbox.c.status == _PENDING,
        outbox.c.lease_owner == message.sender,
        exists().where(this, deliveries.c.ended_at.is_(None)),
    )
    statement = update(outbox).where(fence).values(lease_owner=None, lease_expires_at=None, **changes)
    if connection.execute(statement).rowcount == 0:
        return False
    told = {"outcome": end.outcome, "status_code": end.status_code, "detail": end.detail and end.detail[:500]}
    connection.execute(update(deliveries).where(this).values(ended_at=Now(), **told))
    _count(connection, message.kind, end.outcome)
    return True


def _count(connection: Connection, kind: str, outcome: DeliveryOutcome) -> None:
    totals = delivery_totals.c
    same = and_(totals.kind == kind, totals.outcome == outcome)
    grown = update(delivery_totals).where(same).values(deliveries=totals.deliveries + 1)
    if connection.execute(grown).rowcount == 0:
        connection.execute(insert(delivery_totals).values(kind=kind, outcome=outcome, deliveries=1))


def release_sender(connection: Connection, sender: str) -> int:
    """Take back what a sender that is gone was delivering: due again at once, uncounted; return how many."""
    held = and_(outbox.c.status == _PENDING, outbox.c.lease_owner == sender)
    freed = {"lease_owner": None, "lease_expires_at": None, "tries": outbox.c.tries - 1}
    rows = connection.execute(update(outbox).where(held).values(freed).returning(outbox.c.id, outbox.c.kind)).all()
    for message_id, kind in rows:
        connection.execute(_INTERRUPT, {"message": message_id})
        _count(connection, kind, DeliveryOutcome.INTERRUPTED)
    return len(rows)


def delivery_counts(connection: Connection) -> list[RowMapping]:
    """Return the counters of ended deliveries by kind and outcome."""
    return list(connection.execute(select(delivery_totals)).mappings())
