"""Every change that owners and time make to a job: insert, cancel, retry, delete, expire, prune.

Each is one conditional UPDATE; zero rows means somebody else won. All functions take the caller's open transaction and
never commit. What workers change stands in ``job_attempts``, reads in ``job_views``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, insert, select, update

from storage.audit_table import add_expired
from storage.database import Now, Prepared, Proven
from storage.errors import JobConflict, JobNotFound, TooManyRetries
from storage.ids import Key
from storage.jobs.fair_turns import next_turn, turn_again
from storage.lifecycle import ENDINGS, RETRYABLE, UNDER_WAY, JobStatus
from storage.messages.outbox import add_for_ended, has_pending
from storage.models import jobs, sources, status_literal


@dataclass(frozen=True, slots=True)
class NewSource:
    """One received file of a job that is about to be made."""

    key: Key
    name: str
    size_bytes: int
    sha256: str | None
    media_type: str | None
    checksum: str | None = None
    """As ``service.codecs.checksum`` makes it of what arrived."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What ``insert_job`` needs to know."""

    id: str
    manage_key_digest: str
    name: str
    format: str
    level: str
    ttl_milliseconds: int
    max_attempts: int
    sources: tuple[NewSource, ...]
    caller: str = ""
    """As limits count addresses; empty: exempt from them."""


_QUEUED = status_literal(JobStatus.QUEUED)
_RUNNING = status_literal(JobStatus.RUNNING)
_CANCELLED = status_literal(JobStatus.CANCELLED)
_EXPIRED = status_literal(JobStatus.EXPIRED)
_UNDER_WAY = [status_literal(status) for status in UNDER_WAY]
_ENDED = [status_literal(status) for status in ENDINGS]
_RETRYABLE = [status_literal(status) for status in RETRYABLE]
_NEXT_VERSION = jobs.c.version + 1
_GIVEN = (
    "id", "manage_key_digest", "name", "format", "level", "ttl_milliseconds", "max_attempts",
    "source_size_bytes", "source_sha256", "source_media_type", "source_files", "caller", "fair_key", "turn",
)  # fmt: skip


# Compiled once: uploads come by the thousand, and building or compiling a statement costs several times what running
# it does. Small uploads gained a quarter of their rate.
_INSERT_JOB = Prepared(
    insert(jobs)
    .values({name: bindparam(name) for name in _GIVEN} | {"status": _QUEUED, "run_at": Now(), "created_at": Now()})
    .returning(*jobs.c)
)
_INSERT_SOURCE = Prepared(insert(sources))
_COLUMNS = tuple(jobs.c.keys())


def insert_job(connection: Connection, job: NewJob) -> dict[str, Any]:
    """Make a queued job of received files; return its row."""
    only = job.sources[0] if len(job.sources) == 1 else None
    row = {
        "id": job.id,
        "manage_key_digest": job.manage_key_digest,
        "name": job.name,
        "format": job.format,
        "level": job.level,
        "ttl_milliseconds": job.ttl_milliseconds,
        "max_attempts": job.max_attempts,
        "source_size_bytes": sum(source.size_bytes for source in job.sources),
        "source_sha256": only and only.sha256,
        "source_media_type": only and only.media_type,
        "source_files": len(job.sources),
        "caller": job.caller,
        **next_turn(connection, job.caller),
    }
    made = dict(zip(_COLUMNS, _INSERT_JOB.run(connection, row)[0], strict=True))
    for position, source in enumerate(job.sources):
        _INSERT_SOURCE.run(
            connection,
            {
                "job_seq": made["seq"],
                "position": position,
                "key": source.key,
                "name": source.name,
                "size_bytes": source.size_bytes,
                "sha256": source.sha256,
                "media_type": source.media_type,
                "checksum": source.checksum,
            },
        )
    return made


def cancel(connection: Connection, job_id: str) -> JobStatus:
    """Cancel a queued job at once, ask a running one to stop; return the status it has now.

    Asking again is no error.

    Raises:
        JobNotFound, JobConflict: there is none, or it has ended otherwise.
    """
    statement = (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status.in_(_UNDER_WAY), jobs.c.cancel_requested_at.is_(None))
        .values(
            cancel_requested_at=Now(),
            status=case((jobs.c.status == _RUNNING, _RUNNING), else_=_CANCELLED),
            finished_at=case((jobs.c.status == _RUNNING, None), else_=Now()),
            expires_at=case((jobs.c.status == _RUNNING, None), else_=Now() + jobs.c.ttl_milliseconds),
            version=_NEXT_VERSION,
        )
        .returning(jobs.c.seq, jobs.c.status)
    )
    changed = connection.execute(statement).one_or_none()
    status = changed.status if changed else _status(connection, job_id)
    if changed and status == JobStatus.CANCELLED:
        add_for_ended(connection, changed.seq)
    if status in (JobStatus.RUNNING, JobStatus.CANCELLED):
        return JobStatus(status)
    raise JobConflict(job_id, status)


_LACKS_SOURCES = select(sources.c.job_seq).where(sources.c.job_seq == jobs.c.seq, sources.c.key.is_(None)).exists()
"""Whether it has dropped what it was made of: there is nothing to be run again."""


def retry(connection: Connection, job_id: str, *, attempts_more: int, max_retries: int | None = None) -> None:
    """Queue a failed or cancelled job again, with so many attempts more; the epoch goes on.

    Raises:
        JobNotFound, JobConflict: there is none, or it is in another status, or has dropped its sources.
        TooManyRetries: it was retried ``max_retries`` times.
    """
    found = connection.execute(select(jobs.c.seq, jobs.c.status, jobs.c.retries).where(jobs.c.id == job_id)).first()
    is_retryable = found is not None and JobStatus(found.status) in RETRYABLE
    if found is not None and is_retryable and max_retries is not None and found.retries >= max_retries:
        raise TooManyRetries(job_id)
    statement = (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status.in_(_RETRYABLE), ~_LACKS_SOURCES)
        .values(
            status=_QUEUED,
            run_at=Now(),
            max_attempts=jobs.c.attempts + attempts_more,
            losses=0,
            version=_NEXT_VERSION,
            retries=jobs.c.retries + 1,
            **({} if found is None else turn_again(connection, found.seq)),
            **dict.fromkeys(("cancel_requested_at", "error_code", "error_detail", "finished_at", "expires_at")),
        )
        .returning(jobs.c.seq)
    )
    if connection.execute(statement).one_or_none() is None:
        raise JobConflict(job_id, _status(connection, job_id))


def note_source_lost(connection: Connection, job_id: str, *, code: str) -> bool:
    """Note as the error of a failed or cancelled job that it cannot be run again; return whether that is news.

    No status is worth a look at a file; so whoever has looked writes it down. Its attempts keep their own reasons.
    """
    statement = (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status.in_(_RETRYABLE), jobs.c.error_code.is_distinct_from(code))
        .values(error_code=code, error_detail=None, version=_NEXT_VERSION)
    )
    return bool(connection.execute(statement).rowcount)


def _status(connection: Connection, job_id: str) -> str:
    status: str | None = connection.execute(select(jobs.c.status).where(jobs.c.id == job_id)).scalar_one_or_none()
    if status is None:
        raise JobNotFound(job_id)
    return status


def delete_job(connection: Connection, job_id: str) -> list[Key]:
    """Remove the row in any status; return the keys whose files the caller deletes after the commit.

    Raises:
        JobNotFound: there is none.
    """
    seq = connection.execute(select(jobs.c.seq).where(jobs.c.id == job_id)).scalar_one_or_none()
    if seq is None:
        raise JobNotFound(job_id)
    keys = _keys_of(connection, [seq])
    connection.execute(delete(jobs).where(jobs.c.seq == seq))
    return keys


def _keys_of(connection: Connection, seqs: Sequence[int]) -> list[Key]:
    results = select(jobs.c.result_key).where(jobs.c.seq.in_(seqs), jobs.c.result_key.is_not(None))
    inputs = select(sources.c.key).where(sources.c.job_seq.in_(seqs), sources.c.key.is_not(None))
    # A source kept as its result is found twice. Not a UNION, for which SQLite sorts.
    return [Key(key) for key in dict.fromkeys(connection.execute(results.union_all(inputs)).scalars())]


def expire(connection: Connection, *, grave_milliseconds: int, limit: int) -> list[Key]:
    """Expire up to ``limit`` ended jobs whose time is over, and audit it; return the keys whose files to delete."""
    due = select(jobs.c.seq).where(jobs.c.expires_at <= Proven(), jobs.c.status.in_(_ENDED))
    seqs = connection.execute(due.limit(limit)).scalars().all()
    keys = _keys_of(connection, seqs)
    connection.execute(
        update(jobs)
        .where(jobs.c.seq.in_(seqs))
        .values(
            status=_EXPIRED,
            result_key=None,
            result_damaged_at=None,
            expires_at=Now() + grave_milliseconds,
            version=_NEXT_VERSION,
        )
    )
    connection.execute(update(sources).where(sources.c.job_seq.in_(seqs)).values(key=None))
    add_expired(connection, seqs)
    return keys


def prune(connection: Connection, *, limit: int) -> int:
    """Remove up to ``limit`` expired rows whose grave has stood long enough; return how many.

    One whose message is still to be sent stays until it has been sent or given up.
    """
    due = (
        select(jobs.c.seq).where(jobs.c.expires_at <= Proven(), jobs.c.status == _EXPIRED, ~has_pending()).limit(limit)
    )
    return connection.execute(delete(jobs).where(jobs.c.seq.in_(due))).rowcount
