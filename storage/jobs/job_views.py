"""Every read of jobs: one row's status (the hot path), lists, what is waiting, and which keys rows still name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects import sqlite

from storage.database import Now
from storage.ids import Key, attempt_of, result_key
from storage.lifecycle import JobStatus
from storage.models import jobs, sources, status_literal, workers

_QUEUED = status_literal(JobStatus.QUEUED)
_RUNNING = status_literal(JobStatus.RUNNING)

LAST_POSITION = 100
"""Jobs behind this place are all said to be at it. Counting all that are ahead took 3.6 ms a look in a queue of 10,000,
this takes 0.1 ms; and who waits for a change is not woken by each step of a long queue."""


def _with_position() -> Select[Any]:
    ahead = jobs.alias("ahead")
    counted = (
        select(literal_column("1"))
        .where(
            ahead.c.status == _QUEUED,
            tuple_(ahead.c.turn, ahead.c.run_at, ahead.c.seq) < tuple_(jobs.c.turn, jobs.c.run_at, jobs.c.seq),
        )
        # In the text, so that ``STATUS_SQL`` has one parameter; left out, the dialect adds an offset as another.
        .limit(literal_column(str(LAST_POSITION - 1)))
        .offset(literal_column("0"))
        .correlate(jobs)
        .subquery("counted")
    )
    # A subquery of a few rows, asked only for what waits: if one worker claims, the job is not held up.
    waits = select(case((func.count() == func.count(workers.c.waiting_for), func.max(workers.c.waiting_for))))
    waiting_for = case((jobs.c.status == _QUEUED, waits.scalar_subquery())).label("waiting_for")
    position = select(func.count() + literal_column("1")).select_from(counted).scalar_subquery()
    return select(jobs, case((jobs.c.status == _QUEUED, position)).label("queue_position"), waiting_for)


STATUS_COLUMNS: tuple[str, ...] = (*jobs.c.keys(), "queue_position", "waiting_for")
"""The columns of a status row: those of ``jobs``, while it waits, the place in the queue (1 is next, and
``LAST_POSITION`` stands for all places from there on) and the trouble of the machine that all workers wait for."""

STATUS_SQL = str(
    _with_position().where(jobs.c.id == bindparam("id")).compile(dialect=sqlite.dialect(paramstyle="qmark"))
)
"""The status of one job, for a plain connection: one indexed read, one parameter, ``STATUS_COLUMNS`` back."""


VERSION_SQL = "SELECT version FROM jobs WHERE id = ?"
"""The version of one job: enough to know whether a status read before still stands."""

_GIVEN_IDS = "(SELECT value FROM json_each(?))"
VERSIONS_SQL = f"SELECT id, version, status = {_QUEUED} FROM jobs WHERE id IN {_GIVEN_IDS}"  # noqa: S608 - constants
"""Id, version and whether it waits, of each of the jobs whose ids are given as one JSON array."""

WAITING_SQL = "SELECT CASE WHEN count(*) = count(waiting_for) THEN max(waiting_for) END FROM workers"
"""The trouble that all workers wait for; NULL if one of them claims, or there is none."""

FRONT_SQL = f"SELECT id FROM jobs WHERE status = {_QUEUED} ORDER BY turn, run_at, seq LIMIT ?"  # noqa: S608 - a constant
"""The ids of so many jobs that are next, in order: with ``VERSIONS_SQL``, any number of tags in two reads."""


def job_rows(connection: Connection, ids: Iterable[str]) -> list[RowMapping]:
    """Return the status rows of these jobs, in no order; unknown ids are left out."""
    return list(connection.execute(_with_position().where(jobs.c.id.in_(list(ids)))).mappings())


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows."""

    status: JobStatus | None = None
    name_contains: str | None = None
    before_seq: int | None = None
    limit: int = 50


def list_jobs(connection: Connection, wanted: JobFilter) -> list[RowMapping]:
    """Return status rows, newest first."""
    query = _with_position().order_by(jobs.c.seq.desc()).limit(wanted.limit)
    if wanted.status is not None:
        query = query.where(jobs.c.status == wanted.status)
    if wanted.name_contains:
        query = query.where(jobs.c.name.icontains(wanted.name_contains, autoescape=True))
    if wanted.before_seq is not None:
        query = query.where(jobs.c.seq < wanted.before_seq)
    return list(connection.execute(query).mappings())


def job_sources(connection: Connection, job_id: str) -> list[RowMapping]:
    """Return the sources of a job in order of arrival."""
    query = select(sources).join(jobs, jobs.c.seq == sources.c.job_seq).where(jobs.c.id == job_id)
    return list(connection.execute(query.order_by(sources.c.position)).mappings())


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits and what runs."""

    queued: int
    running: int
    source_bytes: int
    """Bytes of the sources of all these jobs: what their results may yet need."""
    oldest_queued_seconds: float
    by_caller: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Of each address that is not exempt, how many of these jobs and bytes are its own."""


def backlog(connection: Connection) -> Backlog:
    """Count the jobs that are not final; served by the partial indexes, whatever the size of the table."""
    queued = select(func.count(), func.sum(jobs.c.source_size_bytes), func.min(jobs.c.created_at), Now())
    count, size, oldest, now = connection.execute(queued.where(jobs.c.status == _QUEUED)).one()
    running = select(func.count(), func.sum(jobs.c.source_size_bytes)).where(jobs.c.status == _RUNNING)
    running_count, running_size = connection.execute(running).one()
    age = 0.0 if oldest is None else max(0.0, (now - oldest) / 1000)
    return Backlog(count, running_count, (size or 0) + (running_size or 0), age, _by_caller(connection))


def _by_caller(connection: Connection) -> dict[str, tuple[int, int]]:
    """Count what addresses have under way. Nothing is read of who is exempt: an index has all the others apart."""
    query = (
        select(jobs.c.caller, func.count(), func.sum(jobs.c.source_size_bytes))
        .where(jobs.c.finished_at.is_(None), jobs.c.caller > literal_column("''"))
        .group_by(jobs.c.caller)
    )
    return {caller: (count, size) for caller, count, size in connection.execute(query)}


def live_workers(connection: Connection, *, within_milliseconds: int) -> int:
    """Return how many workers gave a sign of life within that time."""
    query = select(func.count()).where(workers.c.heartbeat_at > Now() - within_milliseconds)
    return connection.execute(query).scalar_one()


def overdue_leases(connection: Connection) -> int:
    """Return how many running jobs have a worker that did not renew their lease in time."""
    query = select(func.count()).where(jobs.c.status == _RUNNING, jobs.c.lease_expires_at < Now())
    return connection.execute(query).scalar_one()


# SQLite takes at most 32,766 parameters in one statement, and a key may need two.
_KEYS_AT_ONCE = 1000


def names_files(connection: Connection) -> bool:
    """Return whether any row names a stored file."""
    columns = (sources.c.key, jobs.c.result_key)
    return any(connection.execute(select(column).where(column.is_not(None)).limit(1)).first() for column in columns)


def unnamed(connection: Connection, keys: Sequence[Key]) -> list[Key]:
    """Return those of these keys, however many, that no row names and no running attempt may be writing."""
    running = select(jobs.c.id, jobs.c.epoch).where(jobs.c.status == _RUNNING)
    kept = {result_key(job_id, epoch) for job_id, epoch in connection.execute(running)} | named(connection, keys)
    return [key for key in keys if key not in kept]


def named(connection: Connection, keys: Sequence[Key]) -> set[Key]:
    """Return the keys that rows name, of these at least."""
    kept = set[Key]()
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys[start : start + _KEYS_AT_ONCE]
        makers = [attempt[0] for key in some if (attempt := attempt_of(key))]
        naming = union_all(
            select(sources.c.key).where(sources.c.key.in_(some)),
            select(jobs.c.result_key).where(jobs.c.id.in_(makers)),
        )
        kept.update(connection.execute(naming).scalars())
    return kept
