"""Results that were found damaged or lost, and found whole again: no status of a job, but a mark in its row.

Each change is one conditional UPDATE and its audit event: it happens only while the job still has this result. All
functions take the caller's open transaction and never commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from storage.audit_table import Action, Actor, NewEvent, add
from storage.database import Now
from storage.ids import Key
from storage.lifecycle import JobStatus
from storage.models import jobs, sources, status_literal

_SUCCEEDED = status_literal(JobStatus.SUCCEEDED)
_NEXT_VERSION = jobs.c.version + 1


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A stored result as its row tells it."""

    seq: int
    job_id: str
    key: Key
    size_bytes: int
    sha256: str
    is_damaged: bool
    """As noted."""


@dataclass(frozen=True, slots=True)
class WaitingSource:
    """A stored source of a job that has no result, as its row tells it."""

    seq: int
    position: int
    job_id: str
    key: Key
    size_bytes: int
    checksum: str


def results_after(connection: Connection, seq: int, *, limit: int) -> Sequence[ResultRow]:
    """Return the results of the jobs that arrived after this one, oldest first."""
    columns = (
        jobs.c.seq,
        jobs.c.id,
        jobs.c.result_key,
        jobs.c.result_size_bytes,
        jobs.c.result_sha256,
        jobs.c.result_damaged_at.is_not(None),
    )
    query = select(*columns).where(jobs.c.status == _SUCCEEDED, jobs.c.seq > seq).order_by(jobs.c.seq).limit(limit)
    return [ResultRow(*row) for row in connection.execute(query)]


def waiting_after(connection: Connection, seq: int, position: int, *, limit: int) -> Sequence[WaitingSource]:
    """Return sources that no result replaces and that have a checksum, from after this one on, oldest first."""
    columns = (
        sources.c.job_seq,
        sources.c.position,
        jobs.c.id,
        sources.c.key,
        sources.c.size_bytes,
        sources.c.checksum,
    )
    query = (
        select(*columns)
        .join(jobs, jobs.c.seq == sources.c.job_seq)
        .where(jobs.c.status != _SUCCEEDED, sources.c.key.is_not(None), sources.c.checksum.is_not(None))
        .where(or_(sources.c.job_seq > seq, (sources.c.job_seq == seq) & (sources.c.position > position)))
        .order_by(sources.c.job_seq, sources.c.position)
        .limit(limit)
    )
    return [WaitingSource(*row) for row in connection.execute(query)]


def is_waiting(connection: Connection, source: WaitingSource) -> bool:
    """Return whether the row still names this source."""
    query = select(sources.c.key).where(sources.c.job_seq == source.seq, sources.c.position == source.position)
    return connection.execute(query).scalar_one_or_none() == source.key


def has_result(connection: Connection, job_id: str, key: Key) -> bool:
    """Return whether the job still has this result."""
    return connection.execute(select(jobs.c.seq).where(*_still(job_id, key))).one_or_none() is not None


def note_damaged(connection: Connection, job_id: str, key: Key, *, found: str) -> bool:
    """Mark a job whose result was found damaged; False where it is marked already, or has no such result any more."""
    changed = connection.execute(
        update(jobs)
        .where(*_still(job_id, key), jobs.c.result_damaged_at.is_(None))
        .values(result_damaged_at=Now(), version=_NEXT_VERSION)
    ).rowcount
    if changed:
        add(connection, NewEvent(Action.RESULT_DAMAGED, Actor.SYSTEM, job_id, details={"found": found}))
    return bool(changed)


def note_whole(connection: Connection, job_id: str, key: Key) -> bool:
    """Take the mark off a job whose result was found whole; False where there is none, or no such result any more."""
    changed = connection.execute(
        update(jobs)
        .where(*_still(job_id, key), jobs.c.result_damaged_at.is_not(None))
        .values(result_damaged_at=None, version=_NEXT_VERSION)
    ).rowcount
    if changed:
        add(connection, NewEvent(Action.RESULT_REPAIRED, Actor.SYSTEM, job_id))
    return bool(changed)


def _still(job_id: str, key: Key) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.id == job_id, jobs.c.result_key == key, jobs.c.status == _SUCCEEDED


def damaged_results(connection: Connection) -> int:
    """Return how many results are marked; served by a partial index, whatever the size of the table."""
    marked = select(func.count()).where(jobs.c.status == _SUCCEEDED, jobs.c.result_damaged_at.is_not(None))
    return connection.execute(marked).scalar_one()
