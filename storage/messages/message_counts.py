"""How many messages each target gets in an hour: kept apart from jobs, whose owners may delete them at once."""

from __future__ import annotations

from hashlib import sha256

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from storage.database import Now
from storage.models import message_counts

HOUR_MILLISECONDS = 3_600_000


def count_message(connection: Connection, target: str) -> int:
    """Count a message to this target; return how many that makes in this hour of the clock, it included."""
    now: int = connection.execute(select(Now())).scalar_one()
    hour = now // HOUR_MILLISECONDS
    connection.execute(delete(message_counts).where(message_counts.c.hour < hour))
    row = {"hour": hour, "target_digest": sha256(target.encode()).hexdigest(), "messages": 1}
    grown = insert(message_counts).values(row)
    grown_again = grown.on_conflict_do_update(
        index_elements=["hour", "target_digest"], set_={"messages": message_counts.c.messages + 1}
    )
    messages: int = connection.execute(grown_again.returning(message_counts.c.messages)).scalar_one()
    return messages
