"""Jobs in any status, made by the storage room's own functions; and what a test looks at afterwards.

Everything here opens its own short transactions and does not wait for the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, func, select

from storage.database import Database, Now
from storage.ids import new_source_key, random_id, result_key
from storage.jobs import job_attempts, job_table
from storage.jobs.job_attempts import ClaimedJob, StoredResult
from storage.jobs.job_table import NewJob, NewSource
from storage.lifecycle import JobStatus
from storage.models import (
    attempts,
    audit_events,
    deliveries,
    delivery_totals,
    jobs,
    outbox,
    sources,
    subscribers,
    work_totals,
)

WORKER = "worker-1"
HOUR = 3_600_000
DIGEST = "5a" * 32

Row = dict[str, Any]
T = TypeVar("T")


def act(database: Database, change: Callable[[Connection], T]) -> T:
    """Run one change in its own transaction."""
    with database.transaction(is_durable=False) as connection:
        return change(connection)


def now(database: Database) -> int:
    """Return what the database's clock says."""
    with database.read() as connection:
        return connection.execute(select(Now())).scalar_one()


def new_source(**changes: Any) -> NewSource:
    fields: Row = {"key": new_source_key(), "name": "a.log", "size_bytes": 1000, "sha256": None, "media_type": None}
    return NewSource(**fields | changes)


def new_job(**changes: Any) -> NewJob:
    fields: Row = {
        "id": random_id(),
        "manage_key_digest": DIGEST,
        "name": "a.log",
        "format": "auto",
        "level": "balanced",
        "ttl_milliseconds": HOUR,
        "max_attempts": 3,
        "sources": (new_source(),),
    }
    return NewJob(**fields | changes)


def submit(database: Database, **changes: Any) -> str:
    """Queue a job; return its id."""
    job = new_job(**changes)
    act(database, lambda connection: job_table.insert_job(connection, job))
    return job.id


def claim(database: Database, worker: str = WORKER, *, lease: int = 20_000, is_idle: bool = True) -> ClaimedJob | None:
    """Claim what is next; a negative lease is over at once."""
    return act(
        database,
        lambda connection: job_attempts.claim(connection, worker, lease_milliseconds=lease, is_idle=is_idle),
    )


def running(database: Database, worker: str = WORKER, *, lease: int = 20_000, **changes: Any) -> ClaimedJob:
    """Queue a job and claim it; nothing else may be due."""
    job_id = submit(database, **changes)
    job = claim(database, worker, lease=lease)
    assert job is not None
    assert job.id == job_id
    return job


def result_of(job: ClaimedJob, **changes: Any) -> StoredResult:
    fields: Row = {
        "key": result_key(job.id, job.epoch),
        "name": "a.log.zst",
        "format": "zstd",
        "media_type": "application/zstd",
        "coding": "zstd",
        "size_bytes": 100,
        "sha256": "ab" * 32,
        "checksum": "ef" * 8,
        "stored_as_is": False,
    }
    return StoredResult(**fields | changes)


def finish(database: Database, job: ClaimedJob, **changes: Any) -> None:
    digests = ["cd" * 32] * len(job.sources)
    act(database, lambda connection: job_attempts.finish(connection, job, result_of(job, **changes), digests))


def fail(database: Database, job: ClaimedJob, *, is_fatal: bool = False, pause: int = 0) -> JobStatus:
    return act(
        database,
        lambda connection: job_attempts.fail(
            connection, job, code="codec_failed", detail="It broke.", is_fatal=is_fatal, pause_milliseconds=pause
        ),
    )


def bring_to(database: Database, status: JobStatus) -> str:
    """Make a job and bring it to this status; return its id. Nothing else may be due."""
    if status is JobStatus.QUEUED:
        return submit(database)
    job = running(database, ttl_milliseconds=0 if status is JobStatus.EXPIRED else HOUR)
    if status in (JobStatus.SUCCEEDED, JobStatus.EXPIRED):
        finish(database, job)
    if status is JobStatus.FAILED:
        fail(database, job, is_fatal=True)
    if status is JobStatus.CANCELLED:
        act(database, lambda connection: job_table.cancel(connection, job.id))
        act(database, lambda connection: job_attempts.confirm_cancel(connection, job))
    if status is JobStatus.EXPIRED:
        act(database, lambda connection: job_table.expire(connection, grave_milliseconds=HOUR, limit=10))
    assert row_of(database, job.id)["status"] == status
    return job.id


def one_of_each(database: Database) -> dict[JobStatus, str]:
    """Make a job in every status; return their ids."""
    return {status: bring_to(database, status) for status in reversed(JobStatus)}


def find_row(database: Database, job_id: str) -> Row | None:
    """Return a job's whole row, None if it is gone."""
    with database.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
        return None if row is None else dict(row)


def row_of(database: Database, job_id: str) -> Row:
    row = find_row(database, job_id)
    assert row is not None
    return row


def change_row(database: Database, job_id: str, **changes: Any) -> None:
    """Change a row behind the functions' back, as passing time would."""
    act(database, lambda connection: connection.execute(jobs.update().where(jobs.c.id == job_id).values(**changes)))


def everything(database: Database) -> dict[str, list[Row]]:
    """Return all rows of all tables that a change of a job could touch."""
    tables = (jobs, sources, attempts, work_totals, subscribers, outbox, deliveries, delivery_totals, audit_events)
    with database.read() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in tables
        }


def attempts_of(database: Database, job_id: str) -> list[Row]:
    query = select(attempts).join(jobs, jobs.c.seq == attempts.c.job_seq).where(jobs.c.id == job_id)
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query.order_by(attempts.c.epoch)).mappings()]


def counted(database: Database) -> int:
    """Return how many ended attempts the totals count."""
    with database.read() as connection:
        return connection.execute(select(func.coalesce(func.sum(work_totals.c.jobs), 0))).scalar_one()


def about(milliseconds: int) -> Any:
    """Return what equals this time and those next to it: a statement asks the clock for each of its columns."""
    return pytest.approx(milliseconds, abs=20)
