"""Every change a worker makes to a job: claim, heartbeat, finish, fail, confirm_cancel, release, pause.

Each is one conditional UPDATE, fenced by the epoch; zero rows means somebody else won. All functions take the caller's
open transaction and never commit. Statuses are written as literals, so that partial indexes are used. What owners and
time change stands in ``job_table``, what happens when a worker is gone in ``job_rescue``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from storage.database import Now
from storage.errors import StaleAttempt
from storage.ids import Key
from storage.jobs.fair_turns import turn_again
from storage.jobs.job_leaving import NEXT_VERSION, NO_LEASE, NO_PROGRESS, end_attempt, leave
from storage.lifecycle import AttemptOutcome, JobStatus, Phase
from storage.messages.outbox import add_for_ended
from storage.models import attempts, jobs, sources, status_literal
from storage.trouble import Trouble


@dataclass(frozen=True, slots=True)
class ClaimedSource:
    """One file that an attempt reads."""

    key: Key
    name: str
    size_bytes: int
    sha256: str | None
    media_type: str | None = None
    checksum: str | None = None
    """Of what arrived; None for what an earlier version received."""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job under a lease: what one attempt works on, and what fences it."""

    seq: int
    id: str
    epoch: int
    worker_id: str
    attempt: int
    name: str
    format: str
    level: str
    size_bytes: int
    is_isolated: bool
    sources: tuple[ClaimedSource, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come, in bytes of the source."""

    phase: Phase
    bytes_done: int
    bytes_per_second: int | None


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What an attempt made, stored and proven."""

    key: Key
    name: str
    format: str
    media_type: str
    coding: str | None
    """The content coding under which the stored bytes may be served, if any."""
    size_bytes: int
    sha256: str
    checksum: str
    """As ``service.codecs.checksum`` makes it of the stored bytes."""
    stored_as_is: bool


_QUEUED = status_literal(JobStatus.QUEUED)
_RUNNING = status_literal(JobStatus.RUNNING)
_SUCCEEDED = status_literal(JobStatus.SUCCEEDED)
_FAILED = status_literal(JobStatus.FAILED)
_CANCELLED = status_literal(JobStatus.CANCELLED)
_ALWAYS: ColumnElement[bool] = literal_column("1 = 1")
_WAS_CANCELLED = jobs.c.cancel_requested_at.is_not(None)
_RESULT_COLUMNS = ("key", "name", "format", "media_type", "coding", "size_bytes", "sha256", "checksum")


def _claim() -> Update:
    q = jobs.alias("q")
    due = (
        select(q.c.seq)
        .where(q.c.status == _QUEUED, q.c.run_at <= Now())
        .order_by(q.c.turn, q.c.run_at, q.c.seq)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return (
        update(jobs)
        .where(jobs.c.seq == due, jobs.c.status == _QUEUED)
        .where(or_(jobs.c.is_isolated == false(), bindparam("is_idle", type_=Boolean)))
        .values(
            status=_RUNNING,
            epoch=jobs.c.epoch + 1,
            attempts=jobs.c.attempts + 1,
            lease_owner=bindparam("worker_id"),
            lease_expires_at=Now() + bindparam("lease", type_=BigInteger),
            started_at=func.coalesce(jobs.c.started_at, Now()),
            version=NEXT_VERSION,
            **{**NO_PROGRESS, "phase": Phase.STARTING},
        )
        .returning(jobs)
    )


# Built once: building a statement costs several times what running it does.
_CLAIM = _claim()
_BEGIN_ATTEMPT = insert(attempts).values(started_at=Now())
_CLAIMED_SOURCES = (
    select(*(sources.c[field.name] for field in fields(ClaimedSource)))
    .where(sources.c.job_seq == bindparam("seq"))
    .order_by(sources.c.position)
)


def claim(connection: Connection, worker_id: str, *, lease_milliseconds: int, is_idle: bool) -> ClaimedJob | None:
    """Take the due job whose turn it is, or None: round by round, and within a round the one that is due longest.

    A job that must run alone is given to an idle worker only, and holds back those behind it until then: the caller
    must not claim anything else while it runs.
    """
    fence = {"worker_id": worker_id, "lease": lease_milliseconds, "is_idle": is_idle}
    row = connection.execute(_CLAIM, fence).one_or_none()
    if row is None:
        return None
    connection.execute(_BEGIN_ATTEMPT, {"job_seq": row.seq, "epoch": row.epoch, "worker_id": worker_id})
    return ClaimedJob(
        seq=row.seq,
        id=row.id,
        epoch=row.epoch,
        worker_id=worker_id,
        attempt=row.attempts,
        name=row.name,
        format=row.format,
        level=row.level,
        size_bytes=row.source_size_bytes,
        is_isolated=row.is_isolated,
        sources=tuple(ClaimedSource(*source) for source in connection.execute(_CLAIMED_SOURCES, {"seq": row.seq})),
    )


_FENCE = and_(
    jobs.c.seq == bindparam("fence_seq"),
    jobs.c.id == bindparam("fence_id"),
    jobs.c.status == _RUNNING,
    jobs.c.epoch == bindparam("fence_epoch"),
    jobs.c.lease_owner == bindparam("fence_worker"),
)


def _fence_of(job: ClaimedJob) -> dict[str, Any]:
    return {"fence_seq": job.seq, "fence_id": job.id, "fence_epoch": job.epoch, "fence_worker": job.worker_id}


def _new(fields: Progress | StoredResult) -> dict[str, Any]:
    # A parameter named like a column would be taken for a value of that column.
    return {f"new_{name}": value for name, value in asdict(fields).items()}


_HEARTBEAT = (
    update(jobs)
    .where(_FENCE)
    .values(
        lease_expires_at=Now() + bindparam("lease", type_=BigInteger),
        phase=bindparam("new_phase"),
        bytes_done=bindparam("new_bytes_done"),
        bytes_per_second=bindparam("new_bytes_per_second"),
        version=NEXT_VERSION,
    )
    .returning(jobs.c.cancel_requested_at)
)


def heartbeat(connection: Connection, job: ClaimedJob, progress: Progress, *, lease_milliseconds: int) -> bool:
    """Renew the lease and tell how far the attempt is; return whether its owner wants it cancelled.

    Raises:
        StaleAttempt: the attempt is over.
    """
    values = _fence_of(job) | {"lease": lease_milliseconds} | _new(progress)
    row = connection.execute(_HEARTBEAT, values).one_or_none()
    if row is None:
        raise StaleAttempt(job.id, job.epoch)
    return row.cancel_requested_at is not None


_FINISH = (
    update(jobs)
    .where(_FENCE, jobs.c.cancel_requested_at.is_(None))
    .values(
        status=_SUCCEEDED,
        **{f"result_{name}": bindparam(f"new_{name}") for name in _RESULT_COLUMNS},
        stored_as_is=bindparam("new_stored_as_is"),
        source_sha256=bindparam("only_digest"),
        bytes_done=jobs.c.source_size_bytes,
        finished_at=Now(),
        expires_at=Now() + jobs.c.ttl_milliseconds,
        version=NEXT_VERSION,
        **dict.fromkeys(("phase", "bytes_per_second", "error_code", "error_detail")),
        **NO_LEASE,
    )
    .returning(jobs.c.seq)
)
_PROVEN = update(sources).where(sources.c.job_seq == bindparam("job"), sources.c.position == bindparam("place"))
_PROVEN_AND_KEPT = _PROVEN.values(sha256=bindparam("digest"))
_PROVEN_AND_GONE = _PROVEN.values(sha256=bindparam("digest"), key=None)


def finish(connection: Connection, job: ClaimedJob, result: StoredResult, digests: Sequence[str]) -> None:
    """Record the proven result and the SHA-256 of every source, in order; source keys are dropped unless kept as is.

    The caller deletes the sources' files after the commit.

    Raises:
        StaleAttempt: the attempt is over, or a cancel came first: delete the result and try ``confirm_cancel``.
    """
    only = digests[0] if len(digests) == 1 else None
    values = _fence_of(job) | _new(result) | {"only_digest": only}
    if connection.execute(_FINISH, values).one_or_none() is None:
        raise StaleAttempt(job.id, job.epoch)
    proven = [{"job": job.seq, "place": place, "digest": digest} for place, digest in enumerate(digests)]
    connection.execute(_PROVEN_AND_KEPT if result.stored_as_is else _PROVEN_AND_GONE, proven)
    end_attempt(connection, job, AttemptOutcome.SUCCEEDED, bytes_out=result.size_bytes, result_format=result.format)
    add_for_ended(connection, job.seq)


_DROP_SOURCES = update(sources).where(sources.c.job_seq == bindparam("job")).values(key=None)


def fail(
    connection: Connection,
    job: ClaimedJob,
    *,
    code: str,
    detail: str,
    is_fatal: bool,
    pause_milliseconds: int,
    drops_sources: bool = False,
) -> JobStatus:
    """Record a failed attempt: queued again after the pause while attempts are left, else failed; or cancelled.

    ``drops_sources``, of a fatal one: no row names them any more, and the caller deletes the files after the commit.

    Raises:
        StaleAttempt: the attempt is over.
    """
    over = _ALWAYS if is_fatal else jobs.c.attempts >= jobs.c.max_attempts
    # It had its turn: another attempt is a turn more, behind what its caller sent meanwhile.
    turn = turn_again(connection, job.seq)
    status = leave(
        connection,
        _FENCE,
        case((_WAS_CANCELLED, _CANCELLED), (over, _FAILED), else_=_QUEUED),
        is_final=_WAS_CANCELLED | over,
        fence=_fence_of(job),
        error_code=code,
        error_detail=detail[:500],
        run_at=Now() + pause_milliseconds,
        **turn,
    )
    if not status:
        raise StaleAttempt(job.id, job.epoch)
    if drops_sources:
        connection.execute(_DROP_SOURCES, {"job": job.seq})
    end_attempt(connection, job, AttemptOutcome.FAILED, code=code, detail=detail)
    return status[0].status


def confirm_cancel(connection: Connection, job: ClaimedJob) -> None:
    """Record that the attempt has stopped because its owner asked.

    Raises:
        StaleAttempt: the attempt is over, or nobody asked.
    """
    left = leave(connection, and_(_FENCE, _WAS_CANCELLED), _CANCELLED, is_final=_ALWAYS, fence=_fence_of(job))
    if not left:
        raise StaleAttempt(job.id, job.epoch)
    end_attempt(connection, job, AttemptOutcome.CANCELLED)


def release(connection: Connection, job: ClaimedJob) -> None:
    """Give the job back at its old place in the queue, the attempt uncounted; cancelled if that was asked for.

    Raises:
        StaleAttempt: the attempt is over.
    """
    _give_back(connection, job, AttemptOutcome.RELEASED)


def pause(connection: Connection, job: ClaimedJob, trouble: Trouble, *, pause_milliseconds: int) -> None:
    """Give the job back because the machine is in trouble, the attempt uncounted, behind those that are due by then.

    Cancelled if that was asked for.

    Raises:
        StaleAttempt: the attempt is over.
    """
    _give_back(connection, job, AttemptOutcome.PAUSED, trouble, run_at=Now() + pause_milliseconds)


def _give_back(
    connection: Connection, job: ClaimedJob, outcome: AttemptOutcome, code: str = "", **changes: Any
) -> None:
    left = leave(
        connection,
        _FENCE,
        case((_WAS_CANCELLED, _CANCELLED), else_=_QUEUED),
        is_final=_WAS_CANCELLED,
        fence=_fence_of(job),
        attempts=jobs.c.attempts - 1,
        **changes,
    )
    if not left:
        raise StaleAttempt(job.id, job.epoch)
    end_attempt(connection, job, outcome, code=code)
