"""Counters of ended attempts that only grow, whoever did the work and however often it restarted: for ``/metrics``."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from storage.lifecycle import AttemptOutcome
from storage.models import work_totals


@dataclass(frozen=True, slots=True)
class Counted:
    """What one counter counts: attempts at this format that ended so, for this reason (empty: none)."""

    of_format: str
    how: AttemptOutcome
    code: str


_COUNT = (
    update(work_totals)
    .where(
        work_totals.c.format == bindparam("of_format"),
        work_totals.c.outcome == bindparam("how"),
        work_totals.c.error_code == bindparam("code"),
    )
    .values(
        jobs=work_totals.c.jobs + 1,
        milliseconds=work_totals.c.milliseconds + bindparam("took"),
        bytes_in=work_totals.c.bytes_in + bindparam("read"),
        bytes_out=work_totals.c.bytes_out + bindparam("made"),
    )
)
_FIRST_COUNT = insert(work_totals).values(
    format=bindparam("of_format"),
    outcome=bindparam("how"),
    error_code=bindparam("code"),
    jobs=1,
    milliseconds=bindparam("took"),
    bytes_in=bindparam("read"),
    bytes_out=bindparam("made"),
)


def count(connection: Connection, what: Counted, *, milliseconds: int, bytes_in: int, bytes_out: int) -> None:
    """Add one ended attempt, in the transaction that ends it."""
    values = asdict(what) | {"took": milliseconds, "read": bytes_in, "made": bytes_out}
    if connection.execute(_COUNT, values).rowcount == 0:
        connection.execute(_FIRST_COUNT, values)


def totals(connection: Connection) -> list[RowMapping]:
    """Return all counters."""
    return list(connection.execute(select(work_totals)).mappings())
