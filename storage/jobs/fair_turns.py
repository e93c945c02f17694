"""Whose turn it is: places in the queue that are fair between callers, found when a job enters it.

Each caller has an account of virtual time (start-time fair queueing): a job begins where the caller's one before it
ends, but not before what is next for everybody, and takes as long as it is large. Jobs are claimed round by round, by
``turn``, and within a round as they are due: a newcomer waits for one round of the others, not for all they have sent.
Nothing is kept of callers that have nothing to do.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Connection, String, bindparam, func, literal_column, select

from storage.database import Now, Prepared
from storage.lifecycle import JobStatus
from storage.models import jobs, status_literal

JOB_BYTES = 1024**2
"""What a job costs beside its size: an attempt at an empty file takes about as long as this many bytes."""
ROUND_BYTES = 8 * JOB_BYTES
"""Of one caller in one round: eight small jobs, or a part of a large one."""

_OWN = jobs.alias("own")
_ALL = jobs.alias("unfinished")
_NEXT = jobs.alias("next")

_next_for_all = (
    select(_NEXT.c.turn * literal_column(str(ROUND_BYTES), BigInteger))
    .where(_NEXT.c.status == status_literal(JobStatus.QUEUED), _NEXT.c.run_at <= Now())
    .order_by(_NEXT.c.turn, _NEXT.c.run_at, _NEXT.c.seq)
    .limit(literal_column("1"))
    .offset(literal_column("0"))
    .scalar_subquery()
)
_last_of_all = select(func.max(_ALL.c.fair_key)).where(_ALL.c.finished_at.is_(None)).scalar_subquery()
_end_of_own = (
    select(_OWN.c.fair_key + _OWN.c.source_size_bytes + literal_column(str(JOB_BYTES), BigInteger))
    .where(_OWN.c.finished_at.is_(None), _OWN.c.caller == bindparam("caller", type_=String))
    .order_by(_OWN.c.fair_key.desc())
    .limit(literal_column("1"))
    .offset(literal_column("0"))
    .scalar_subquery()
)
_zero = literal_column("0", BigInteger)
# With two arguments SQLite's max is the larger of both; NULL if one is.
_FAIR_KEY = Prepared(
    select(func.max(func.coalesce(_next_for_all, _last_of_all, _zero), func.coalesce(_end_of_own, _zero)))
)
_CALLER = Prepared(select(jobs.c.caller).where(jobs.c.seq == bindparam("job")))


def next_turn(connection: Connection, caller: str) -> dict[str, Any]:
    """Return ``fair_key`` and ``turn`` of the job that this caller adds now, in the transaction that adds it."""
    fair_key: int = _FAIR_KEY.run(connection, {"caller": caller})[0][0]
    return {"fair_key": fair_key, "turn": fair_key // ROUND_BYTES}


def turn_again(connection: Connection, seq: int) -> dict[str, Any]:
    """Return the same for a job that enters the queue again, having had its turn; of one that is gone, nothing."""
    found = _CALLER.run(connection, {"job": seq})
    return next_turn(connection, found[0][0]) if found else {}
