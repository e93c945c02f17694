"""The service's clock as all processes share it: one row, looked at and set in short transactions.

``storage.database.Now`` and ``Proven`` read the row in every statement, so that a clock that is set in one transaction
is set for everybody at once. Setting it moves nothing that was promised nearer: what waits, waits as long as before.
"""

from __future__ import annotations

from dataclasses import asdict, astuple

from sqlalchemy import Connection, Table, select, update

from storage import clock as clocks
from storage.clock import Clock, Reading
from storage.database import Database, Now
from storage.lifecycle import UNDER_WAY, MessageStatus
from storage.models import attempts, clock, deliveries, idempotency_keys, jobs, outbox, status_literal, workers

SEEN_EVERY_MILLISECONDS = 60_000
"""How old the row may get while nothing happens: each write of it makes every process look at its caches again."""

_LIVE = jobs.c.status.in_([status_literal(status) for status in UNDER_WAY])


def read(connection: Connection) -> Clock:
    """Return the clock as last written."""
    return Clock(*connection.execute(select(clock)).one()[1:])


def advance(connection: Connection, reading: Reading, *, is_trusted: bool = False) -> tuple[Clock, Clock]:
    """Look at the machine's clocks; return the service's clock as it was and as it is now.

    A step is believed if it has lasted, or at once if ``is_trusted``.
    """
    before = read(connection)
    after = clocks.observed(before, reading)
    moved = 0
    if clocks.may_be_believed(after, reading) or is_trusted:
        after, moved = clocks.believing(after, reading)
    if moved:
        _move(connection, moved)
    if _is_news(before, after):
        connection.execute(update(clock).values(dict(zip(_names(), astuple(after), strict=True))))
    return before, after


def write_seen(database: Database) -> None:
    """Commit something small, durably: the time.

    Raises:
        sqlalchemy.exc.OperationalError, StorageLost: as ``Database.transaction``.
    """
    with database.transaction() as connection:
        connection.execute(update(clock).values(seen_at=Now()))


def _names() -> tuple[str, ...]:
    return tuple(column.name for column in clock.columns)[1:]


def _is_news(before: Clock, after: Clock) -> bool:
    aged, same = asdict(after), asdict(before)
    age = aged.pop("seen") - same.pop("seen")
    return aged != same or age >= SEEN_EVERY_MILLISECONDS


def _move(connection: Connection, by: int) -> None:
    """Move what is under way with the clock: a lease or a pause is as long as it was, and an age what it has been.

    What is kept until a time moves with a step ahead only: after a step back it is kept longer, which harms nobody.
    """
    version = {"version": jobs.c.version + 1}
    lived = ("run_at", "created_at", "started_at", "cancel_requested_at", "lease_expires_at")
    waited = ("run_at", "created_at", "lease_expires_at")
    is_pending = outbox.c.status == status_literal(MessageStatus.PENDING)
    connection.execute(update(jobs).where(_LIVE).values(version | _later(jobs, by, *lived)))
    connection.execute(update(attempts).where(attempts.c.ended_at.is_(None)).values(_later(attempts, by, "started_at")))
    connection.execute(update(outbox).where(is_pending).values(_later(outbox, by, *waited)))
    is_open = deliveries.c.ended_at.is_(None)
    connection.execute(update(deliveries).where(is_open).values(_later(deliveries, by, "started_at")))
    connection.execute(update(workers).values(_later(workers, by, "started_at", "heartbeat_at")))
    if by > 0:
        is_kept = jobs.c.expires_at.is_not(None)
        connection.execute(update(jobs).where(is_kept).values(version | _later(jobs, by, "expires_at")))
        connection.execute(update(idempotency_keys).values(_later(idempotency_keys, by, "expires_at")))


def _later(table: Table, by: int, *names: str) -> dict[str, object]:
    return {name: table.c[name] + by for name in names}
