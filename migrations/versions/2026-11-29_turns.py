"""Turns: each job knows its caller, and its place among the jobs of all callers."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_turns"
down_revision = "2026_11_28_waiting"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("caller", sa.String(length=43), server_default=sa.text("''"), nullable=False))
    op.add_column("jobs", sa.Column("fair_key", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_index("ix_jobs_ready", table_name="jobs")
    op.create_index(
        "ix_jobs_ready", "jobs", ["status", "turn", "run_at", "seq"], sqlite_where=sa.text("status = 'queued'")
    )
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["caller", "fair_key", "source_size_bytes"],
        sqlite_where=sa.text("finished_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_unfinished", table_name="jobs")
    op.drop_index("ix_jobs_ready", table_name="jobs")
    op.create_index("ix_jobs_ready", "jobs", ["status", "run_at", "seq"], sqlite_where=sa.text("status = 'queued'"))
    op.drop_column("jobs", "turn")
    op.drop_column("jobs", "fair_key")
    op.drop_column("jobs", "caller")
