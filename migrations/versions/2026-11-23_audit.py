"""Audit events: who did what to which job, when, and how it was answered."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_23_audit"
down_revision = "2026_11_22_outbox"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=24), nullable=False),
        sa.Column("actor", sa.String(length=12), nullable=False),
        sa.Column("job_id", sa.String(length=26), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("client", sa.String(length=64), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("details", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_events_action", "audit_events", ["action"], unique=False)
    op.create_index(
        "ix_audit_events_job_id", "audit_events", ["job_id"], unique=False, sqlite_where=sa.text("job_id IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_table("audit_events")
