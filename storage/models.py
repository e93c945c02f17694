"""The tables. Times are whole milliseconds since 1970 (UTC) by the service's clock; digests are lower-case hex.

Integers for times lose no zone and compare the same everywhere. Statuses are strings with a CHECK, not a native enum,
so that migrations stay trivial. Queries on ``jobs`` live in ``job_table``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnClause,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    text,
)

from storage.lifecycle import JobStatus, MessageKind, MessageStatus

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Digest = String(64)
_Id = String(26)


def _milliseconds(name: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _in(column: str, values: Iterable[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def status_literal(status: JobStatus | MessageStatus) -> ColumnClause[str]:
    """Return the status as it stands in SQL text; a bound one would not be matched to the partial indexes."""
    return literal_column(f"'{status}'", String)


def _is(status: JobStatus | MessageStatus) -> str:
    return f"status = '{status}'"


_FINAL = tuple(status for status in JobStatus if status.is_final)

jobs = Table(
    "jobs",
    metadata,
    # Order of arrival; AUTOINCREMENT because SQLite otherwise hands a deleted row's number out again.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", _Id, nullable=False, unique=True),
    Column("owner_id", String(64)),
    # The address it came from, as limits count it; empty: exempt from them. And its place among all callers' jobs:
    # see ``storage.jobs.fair_turns``.
    Column("caller", String(43), nullable=False, server_default=text("''")),
    Column("fair_key", BigInteger, nullable=False, server_default="0"),
    Column("turn", BigInteger, nullable=False, server_default="0"),
    Column("manage_key_digest", _Digest, nullable=False),
    Column("status", String(10), nullable=False),
    # +1 with every change somebody may see: the ETag.
    Column("version", Integer, nullable=False, server_default="1"),
    # What was sent, and what was asked for.
    Column("name", String(240), nullable=False),
    Column("format", String(10), nullable=False),
    Column("level", String(10), nullable=False),
    Column("ttl_milliseconds", BigInteger, nullable=False),
    Column("source_size_bytes", BigInteger, nullable=False),
    Column("source_sha256", _Digest),
    Column("source_media_type", String(255)),
    Column("source_files", Integer, nullable=False),
    # The attempt. epoch fences: +1 at each claim, never lowered. attempts counts tries that count: +1 at claim, -1 when
    # the job is given back or its worker dies. losses counts workers that died with this job alone.
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("max_attempts", Integer, nullable=False),
    # How often clients had it run again; there is a limit.
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("losses", Integer, nullable=False, server_default="0"),
    Column("is_isolated", Boolean, nullable=False, server_default=text("0")),
    Column("lease_owner", _Id),
    _milliseconds("lease_expires_at"),
    _milliseconds("cancel_requested_at"),
    Column("phase", String(12)),
    Column("bytes_done", BigInteger, nullable=False, server_default="0"),
    Column("bytes_per_second", BigInteger),
    # The outcome.
    Column("result_key", String(64)),
    Column("result_name", String(255)),
    Column("result_format", String(10)),
    Column("result_media_type", String(255)),
    Column("result_coding", String(10)),
    Column("result_size_bytes", BigInteger),
    Column("result_sha256", _Digest),
    # XXH3-64 of the stored bytes, in hex; NULL in rows of versions that made none.
    Column("result_checksum", String(16)),
    Column("stored_as_is", Boolean, nullable=False, server_default=text("0")),
    # When the stored result was first found to be damaged or lost; NULL again once it is found whole.
    _milliseconds("result_damaged_at"),
    Column("error_code", String(40)),
    Column("error_detail", String(500)),
    _milliseconds("run_at", nullable=False),
    _milliseconds("created_at", nullable=False),
    _milliseconds("started_at"),
    _milliseconds("finished_at"),
    _milliseconds("expires_at"),
    CheckConstraint(_in("status", JobStatus), name="status"),
    CheckConstraint(
        f"({_is(JobStatus.RUNNING)}) = (lease_owner IS NOT NULL AND lease_expires_at IS NOT NULL)",
        name="lease_while_running",
    ),
    CheckConstraint(f"({_in('status', _FINAL)}) = (finished_at IS NOT NULL)", name="finished_when_final"),
    CheckConstraint("attempts >= 0 AND attempts <= epoch", name="attempts"),
    CheckConstraint("bytes_done >= 0 AND source_size_bytes >= 0", name="bytes"),
    CheckConstraint(f"status != '{JobStatus.SUCCEEDED}' OR result_key IS NOT NULL", name="result_when_succeeded"),
    # Literals, never binds, in the statements these serve: a bound status is not matched to a partial index. The status
    # leads although the condition says it: without it SQLite takes ix_jobs_status_seq, and claims sort all that waits.
    Index("ix_jobs_ready", "status", "turn", "run_at", "seq", sqlite_where=text(_is(JobStatus.QUEUED))),
    Index("ix_jobs_unfinished", "caller", "fair_key", "source_size_bytes", sqlite_where=text("finished_at IS NULL")),
    Index("ix_jobs_lease", "status", "lease_expires_at", sqlite_where=text(_is(JobStatus.RUNNING))),
    Index("ix_jobs_expiry", "status", "expires_at", sqlite_where=text("expires_at IS NOT NULL")),
    Index("ix_jobs_status_seq", "status", "seq"),
    Index("ix_jobs_damaged", "status", "seq", sqlite_where=text("result_damaged_at IS NOT NULL")),
    sqlite_autoincrement=True,
)

sources = Table(
    "sources",
    metadata,
    Column("job_seq", ForeignKey("jobs.seq", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    # NULL once the result has been proven and the source is gone.
    Column("key", String(64)),
    Column("name", String(1024), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", _Digest),
    Column("media_type", String(255)),
    # XXH3-64 of what arrived, in hex; NULL in rows of versions that made none.
    Column("checksum", String(16)),
    Index("ix_sources_key", "key", unique=True, sqlite_where=text("key IS NOT NULL")),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_seq", ForeignKey("jobs.seq", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("worker_id", _Id, nullable=False),
    _milliseconds("started_at", nullable=False),
    _milliseconds("ended_at"),
    Column("outcome", String(12)),
    Column("error_code", String(40)),
    Column("error_detail", String(500)),
)

workers = Table(
    "workers",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("capacity", Integer, nullable=False),
    _milliseconds("started_at", nullable=False),
    _milliseconds("heartbeat_at", nullable=False),
    # The trouble of its machine for which it claims nothing, as ``Trouble`` says it; NULL: it claims.
    Column("waiting_for", String(16)),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key_digest", _Digest, primary_key=True),
    Column("fingerprint", _Digest, nullable=False),
    # Deleted with its job: a key whose job is gone makes a new one.
    Column("job_seq", ForeignKey("jobs.seq", ondelete="CASCADE"), nullable=False),
    _milliseconds("expires_at", nullable=False),
    Index("ix_idempotency_keys_job_seq", "job_seq"),
    Index("ix_idempotency_keys_expires_at", "expires_at"),
)

# Counters that only grow, whoever did the work and however often it restarted: what /metrics reports.
work_totals = Table(
    "work_totals",
    metadata,
    Column("format", String(10), primary_key=True),
    Column("outcome", String(12), primary_key=True),
    Column("error_code", String(40), primary_key=True),
    Column("jobs", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
)

# Whom to tell when a job ends.
subscribers = Table(
    "subscribers",
    metadata,
    Column("job_seq", ForeignKey("jobs.seq", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("target", String(2048), nullable=False),
    # Who answers there: a URL's host, for e-mail the host of the mail server. What the limit of deliveries counts.
    Column("receiver", String(255), nullable=False),
    Column("language", String(10), nullable=False),
    CheckConstraint(_in("kind", MessageKind), name="kind"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", _Id, nullable=False, unique=True),
    # Deleted with its job.
    Column("job_seq", ForeignKey("jobs.seq", ondelete="CASCADE"), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("target", String(2048), nullable=False),
    Column("receiver", String(255), nullable=False),
    Column("language", String(10), nullable=False),
    # The job's row as it was when it ended, as JSON: each delivery tells the same.
    Column("payload", Text, nullable=False),
    Column("status", String(10), nullable=False),
    # +1 at claim, -1 when the worker died meanwhile; 0 after a replay.
    Column("tries", Integer, nullable=False, server_default="0"),
    # How often it was asked for again; there is a limit.
    Column("replays", Integer, nullable=False, server_default="0"),
    _milliseconds("run_at", nullable=False),
    Column("lease_owner", _Id),
    _milliseconds("lease_expires_at"),
    _milliseconds("created_at", nullable=False),
    _milliseconds("ended_at"),
    CheckConstraint(_in("kind", MessageKind), name="kind"),
    CheckConstraint(_in("status", MessageStatus), name="status"),
    CheckConstraint(f"({_is(MessageStatus.PENDING)}) = (ended_at IS NULL)", name="ended_unless_pending"),
    CheckConstraint("(lease_owner IS NULL) = (lease_expires_at IS NULL)", name="lease"),
    CheckConstraint(f"{_is(MessageStatus.PENDING)} OR lease_owner IS NULL", name="lease_while_pending"),
    Index("ix_outbox_due", "status", "run_at", "seq", sqlite_where=text(_is(MessageStatus.PENDING))),
    Index("ix_outbox_receiver", "status", "receiver", "run_at", "seq", sqlite_where=text(_is(MessageStatus.PENDING))),
    Index("ix_outbox_job_seq", "job_seq", "seq"),
    sqlite_autoincrement=True,
)

# Each delivery of a message, arrived or not.
deliveries = Table(
    "deliveries",
    metadata,
    Column("message_id", ForeignKey("outbox.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    _milliseconds("started_at", nullable=False),
    _milliseconds("ended_at"),
    Column("outcome", String(20)),
    Column("status_code", Integer),
    Column("detail", String(500)),
)

# Messages of this hour by target, whatever became of their jobs: there is a limit. Rows of hours before are removed.
message_counts = Table(
    "message_counts",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("target_digest", _Digest, primary_key=True),
    Column("messages", Integer, nullable=False),
)

# Counters of ended deliveries that only grow, as work_totals.
delivery_totals = Table(
    "delivery_totals",
    metadata,
    Column("kind", String(10), primary_key=True),
    Column("outcome", String(20), primary_key=True),
    Column("deliveries", BigInteger, nullable=False),
)

# The service's clock, one row: see ``storage.clock``, whose fields the columns are, in order.
clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("boot_id", String(36), nullable=False),
    Column("offset_milliseconds", BigInteger, nullable=False),
    Column("doubt_milliseconds", BigInteger, nullable=False),
    _milliseconds("seen_at", nullable=False),
    Column("step_milliseconds", BigInteger, nullable=False),
    Column("step_since", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

audit_events = Table(
    "audit_events",
    metadata,
    # Order of commit; AUTOINCREMENT, so that whoever has read up to a number may go on from there.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _milliseconds("at", nullable=False),
    Column("action", String(24), nullable=False),
    Column("actor", String(12), nullable=False),
    # Text, not a reference: an event outlives its job.
    Column("job_id", _Id),
    Column("request_id", String(64)),
    Column("client", String(64)),
    Column("status", Integer),
    # A small JSON object.
    Column("details", Text, nullable=False, server_default="{}"),
    Index("ix_audit_events_action", "action"),
    Index("ix_audit_events_job_id", "job_id", sqlite_where=text("job_id IS NOT NULL")),
    sqlite_autoincrement=True,
)
