"""How many messages each target gets in an hour: kept apart from jobs, whose owners may delete them at once.

A target is a mailbox or a host: whoever names one may spell it in as many ways as he likes.
"""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from storage.database import Now
from storage.lifecycle import MessageKind
from storage.models import message_counts

HOUR_MILLISECONDS = 3_600_000


def count_message(connection: Connection, kind: MessageKind, target: str) -> int:
    """Count a message to an address or URL; return how many its mailbox or host has in this hour, it included."""
    now: int = connection.execute(select(Now())).scalar_one()
    hour = now // HOUR_MILLISECONDS
    connection.execute(delete(message_counts).where(message_counts.c.hour < hour))
    row = {"hour": hour, "target_digest": sha256(counted_as(kind, target).encode()).hexdigest(), "messages": 1}
    grown = insert(message_counts).values(row)
    grown_again = grown.on_conflict_do_update(
        index_elements=["hour", "target_digest"], set_={"messages": message_counts.c.messages + 1}
    )
    messages: int = connection.execute(grown_again.returning(message_counts.c.messages)).scalar_one()
    return messages


def counted_as(kind: MessageKind, target: str) -> str:
    """Return the mailbox of an address, without case and ``+detail``, or the host of a URL, whatever its port."""
    if kind is MessageKind.EMAIL:
        local_part, _, domain = target.lower().rpartition("@")
        return f"{local_part.partition('+')[0]}@{domain}"
    return (urlsplit(target).hostname or target).removesuffix(".")
