"""Which message a sender may take next: searched on a plain connection, so that no writer waits for a search.

While no receiver is busy it is the first one by time. Else a backlog for one that stalls would be walked through at
every look; so the first message of each receiver is looked up instead, going from receiver to receiver by the index.
That takes as many steps as there are receivers, however much waits for each.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy import (
    ColumnElement,
    FromClause,
    ScalarSelect,
    Select,
    String,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects import sqlite

from storage.database import Database, Now
from storage.lifecycle import MessageStatus
from storage.models import outbox, status_literal
from storage.plain_reader import PlainReader

_PENDING = status_literal(MessageStatus.PENDING)
_DUE = outbox.alias("due")
_OLDER = outbox.alias("older")


def is_due(message: FromClause) -> ColumnElement[bool]:
    """Return the condition that a row of ``outbox``, or of an alias of it, may be taken.

    Of the messages of one job, kind and target that is only the oldest pending one.
    """
    is_next = ~exists().where(
        _OLDER.c.job_seq == message.c.job_seq,
        _OLDER.c.seq < message.c.seq,
        _OLDER.c.status == _PENDING,
        _OLDER.c.kind == message.c.kind,
        _OLDER.c.target == message.c.target,
    )
    is_free = or_(message.c.lease_expires_at.is_(None), message.c.lease_expires_at < Now())
    return and_(message.c.status == _PENDING, message.c.run_at <= Now(), is_free, is_next)


def _first(query: Select[tuple[int]]) -> Select[tuple[int]]:
    # In the text, so that the statements have no parameter but ``busy``.
    return query.order_by(_DUE.c.run_at, _DUE.c.seq).limit(literal_column("1")).offset(literal_column("0"))


def _first_of(receiver: ColumnElement[str]) -> ScalarSelect[int]:
    return _first(select(_DUE.c.seq).where(is_due(_DUE), _DUE.c.receiver == receiver)).scalar_subquery()


def _smallest(*conditions: ColumnElement[bool]) -> ScalarSelect[str]:
    return select(func.min(_OLDER.c.receiver)).where(_OLDER.c.status == _PENDING, *conditions).scalar_subquery()


def _first_of_others() -> Select[tuple[int]]:
    receivers = select(_smallest().label("name")).cte("receivers", recursive=True)
    following = select(_smallest(_OLDER.c.receiver > receivers.c.name)).where(receivers.c.name.is_not(None))
    receivers = receivers.union_all(following)
    busy = func.json_each(bindparam("busy", type_=String)).table_valued("value")
    firsts = (
        select(_first_of(receivers.c.name).label("seq"))
        .where(receivers.c.name.not_in(select(busy.c.value)))
        .cte("firsts")
    )
    return _first(select(_DUE.c.seq).join(firsts, firsts.c.seq == _DUE.c.seq))


FIRST_SQL = str(_first(select(_DUE.c.seq).where(is_due(_DUE))).compile(dialect=sqlite.dialect()))
FIRST_OF_OTHERS_SQL = str(_first_of_others().compile(dialect=sqlite.dialect(paramstyle="qmark")))
"""Has one parameter: the busy receivers as a JSON array."""


class DueMessages:
    """Finds what may be sent next, for one thread: the one that asks first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader: PlainReader | None = None

    def find(self, busy_receivers: Collection[str] = ()) -> int | None:
        """Do as ``find_due``."""
        if self._reader is None:
            self._reader = PlainReader(self._database)
        return find_due(self._reader, busy_receivers)

    def close(self) -> None:
        """Look no more."""
        if self._reader is not None:
            self._reader.close()


def find_due(reader: PlainReader, busy_receivers: Collection[str] = ()) -> int | None:
    """Return the ``seq`` of the message that has been due longest and is not for a busy receiver, or None."""
    if busy_receivers:
        row = reader.one(FIRST_OF_OTHERS_SQL, (json.dumps(list(busy_receivers)),))
    else:
        row = reader.one(FIRST_SQL)
    return None if row is None else row[0]
