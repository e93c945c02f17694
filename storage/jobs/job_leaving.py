"""How running jobs leave that status, whoever takes them out of it: ``job_attempts``, or ``job_rescue`` for the dead.

All functions take the caller's open transaction and never commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, update

from storage.database import Now
from storage.jobs.work_totals import Counted, count
from storage.lifecycle import AttemptOutcome, JobStatus
from storage.messages.outbox import add_for_ended
from storage.models import attempts, jobs

NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None}
NO_PROGRESS: dict[str, Any] = {"phase": None, "bytes_done": 0, "bytes_per_second": None}
NEXT_VERSION = jobs.c.version + 1


class Attempted(Protocol):
    """What is known of a job while it runs, and when it has left."""

    @property
    def seq(self) -> int:
        """Its number."""

    @property
    def epoch(self) -> int:
        """The attempt's."""

    @property
    def format(self) -> str:
        """What was asked for."""

    @property
    def size_bytes(self) -> int:
        """Of its sources."""


@dataclass(frozen=True, slots=True)
class LeftJob:
    """A job that is not running any more, where it went, and what its attempt was at."""

    seq: int
    id: str
    epoch: int
    status: JobStatus
    format: str
    size_bytes: int


def leave(
    connection: Connection,
    where: ColumnElement[bool],
    status: ColumnElement[str],
    *,
    is_final: ColumnElement[bool],
    fence: dict[str, Any] | None = None,
    **changes: Any,
) -> list[LeftJob]:
    """Take running jobs to another status; subscribers of one that ends are told."""
    statement = (
        update(jobs)
        .where(where)
        .values(
            status=status,
            finished_at=case((is_final, Now()), else_=None),
            expires_at=case((is_final, Now() + jobs.c.ttl_milliseconds), else_=None),
            version=NEXT_VERSION,
            **NO_LEASE,
            **NO_PROGRESS,
            **changes,
        )
        .returning(jobs.c.seq, jobs.c.id, jobs.c.epoch, jobs.c.status, jobs.c.format, jobs.c.source_size_bytes)
    )
    rows = connection.execute(statement, fence or {}).all()
    left = [LeftJob(row[0], row[1], row[2], JobStatus(row[3]), row[4], row[5]) for row in rows]
    for job in left:
        if job.status.is_final:
            add_for_ended(connection, job.seq)
    return left


_END_ATTEMPT = (
    update(attempts)
    .where(attempts.c.job_seq == bindparam("job"), attempts.c.epoch == bindparam("number"))
    .values(
        ended_at=Now(),
        outcome=bindparam("how"),
        error_code=bindparam("code"),
        error_detail=bindparam("detail"),
    )
    .returning(func.max(attempts.c.ended_at - attempts.c.started_at, 0))
)


def end_attempt(
    connection: Connection,
    job: Attempted,
    outcome: AttemptOutcome,
    *,
    code: str = "",
    detail: str | None = None,
    bytes_out: int = 0,
    result_format: str | None = None,
) -> None:
    """Write down how an attempt ended, and add it to the totals."""
    ended = {
        "job": job.seq,
        "number": job.epoch,
        "how": outcome,
        "code": code or None,
        "detail": detail and detail[:500],
    }
    milliseconds: int = connection.execute(_END_ATTEMPT, ended).scalar_one()
    what = Counted(result_format or job.format, outcome, code)
    count(connection, what, milliseconds=milliseconds, bytes_in=job.size_bytes, bytes_out=bytes_out)
