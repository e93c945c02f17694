"""The first schema: jobs and their sources, attempts, workers, idempotency keys, totals.

The nullable owner_id waits for owners; nothing reads it yet.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_22_initial"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=True),
        sa.Column("manage_key_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("name", sa.String(length=240), nullable=False),
        sa.Column("format", sa.String(length=10), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("ttl_milliseconds", sa.BigInteger(), nullable=False),
        sa.Column("source_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("source_sha256", sa.String(length=64), nullable=True),
        sa.Column("source_media_type", sa.String(length=255), nullable=True),
        sa.Column("source_files", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_isolated", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_owner", sa.String(length=26), nullable=True),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("cancel_requested_at", sa.BigInteger(), nullable=True),
        sa.Column("phase", sa.String(length=12), nullable=True),
        sa.Column("bytes_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_per_second", sa.BigInteger(), nullable=True),
        sa.Column("result_key", sa.String(length=64), nullable=True),
        sa.Column("result_name", sa.String(length=255), nullable=True),
        sa.Column("result_format", sa.String(length=10), nullable=True),
        sa.Column("result_media_type", sa.String(length=255), nullable=True),
        sa.Column("result_coding", sa.String(length=10), nullable=True),
        sa.Column("result_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("result_sha256", sa.String(length=64), nullable=True),
        sa.Column("stored_as_is", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_detail", sa.String(length=500), nullable=True),
        sa.Column("run_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'running') = (lease_owner IS NOT NULL AND lease_expires_at IS NOT NULL)",
            name=op.f("ck_jobs_lease_while_running"),
        ),
        sa.CheckConstraint(
            "(status IN ('succeeded', 'failed', 'cancelled', 'expired')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_finished_when_final"),
        ),
        sa.CheckConstraint(
            "status != 'succeeded' OR result_key IS NOT NULL", name=op.f("ck_jobs_result_when_succeeded")
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')",
            name=op.f("ck_jobs_status"),
        ),
        sa.CheckConstraint("attempts >= 0 AND attempts <= epoch", name=op.f("ck_jobs_attempts")),
        sa.CheckConstraint("bytes_done >= 0 AND source_size_bytes >= 0", name=op.f("ck_jobs_bytes")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_jobs_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_expiry", "jobs", ["status", "expires_at"], sqlite_where=sa.text("expires_at IS NOT NULL"))
    op.create_index("ix_jobs_lease", "jobs", ["status", "lease_expires_at"], sqlite_where=sa.text("status = 'running'"))
    op.create_index("ix_jobs_ready", "jobs", ["status", "run_at", "seq"], sqlite_where=sa.text("status = 'queued'"))
    op.create_index("ix_jobs_status_seq", "jobs", ["status", "seq"], unique=False)
    op.create_table(
        "work_totals",
        sa.Column("format", sa.String(length=10), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        sa.Column("error_code", sa.String(length=40), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("milliseconds", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("format", "outcome", "error_code", name=op.f("pk_work_totals")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "attempts",
        sa.Column("job_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(length=26), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_detail", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(["job_seq"], ["jobs.seq"], name=op.f("fk_attempts_job_seq_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_seq", "epoch", name=op.f("pk_attempts")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("job_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_seq"], ["jobs.seq"], name=op.f("fk_idempotency_keys_job_seq_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_digest", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"], unique=False)
    op.create_index("ix_idempotency_keys_job_seq", "idempotency_keys", ["job_seq"], unique=False)
    op.create_table(
        "sources",
        sa.Column("job_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("media_type", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["job_seq"], ["jobs.seq"], name=op.f("fk_sources_job_seq_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_seq", "position", name=op.f("pk_sources")),
    )
    op.create_index("ix_sources_key", "sources", ["key"], unique=True, sqlite_where=sa.text("key IS NOT NULL"))


def downgrade() -> None:
    for table in ("sources", "idempotency_keys", "attempts", "workers", "work_totals", "jobs"):
        op.drop_table(table)
