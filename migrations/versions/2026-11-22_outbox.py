"""Whom to tell when a job ends, the messages still to be sent, and each delivery of them."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_22_outbox"
down_revision = "2026_11_22_initial"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('webhook', 'email')"


def upgrade() -> None:
    op.create_table(
        "subscribers",
        sa.Column("job_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("target", sa.String(length=2048), nullable=False),
        sa.Column("receiver", sa.String(length=255), nullable=False),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.CheckConstraint(_KINDS, name=op.f("ck_subscribers_kind")),
        sa.ForeignKeyConstraint(
            ["job_seq"], ["jobs.seq"], name=op.f("fk_subscribers_job_seq_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_seq", "position", name=op.f("pk_subscribers")),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("job_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("target", sa.String(length=2048), nullable=False),
        sa.Column("receiver", sa.String(length=255), nullable=False),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("replays", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(length=26), nullable=True),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(_KINDS, name=op.f("ck_outbox_kind")),
        sa.CheckConstraint("status IN ('pending', 'sent', 'failed')", name=op.f("ck_outbox_status")),
        sa.CheckConstraint("(status = 'pending') = (ended_at IS NULL)", name=op.f("ck_outbox_ended_unless_pending")),
        sa.CheckConstraint("(lease_owner IS NULL) = (lease_expires_at IS NULL)", name=op.f("ck_outbox_lease")),
        sa.CheckConstraint("status = 'pending' OR lease_owner IS NULL", name=op.f("ck_outbox_lease_while_pending")),
        sa.ForeignKeyConstraint(["job_seq"], ["jobs.seq"], name=op.f("fk_outbox_job_seq_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
        sa.UniqueConstraint("id", name=op.f("uq_outbox_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_due", "outbox", ["status", "run_at", "seq"], sqlite_where=sa.text("status = 'pending'"))
    op.create_index(
        "ix_outbox_receiver",
        "outbox",
        ["status", "receiver", "run_at", "seq"],
        sqlite_where=sa.text("status = 'pending'"),
    )
    op.create_index("ix_outbox_job_seq", "outbox", ["job_seq", "seq"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("message_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("detail", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["outbox.id"], name=op.f("fk_deliveries_message_id_outbox"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_deliveries")),
    )
    op.create_table(
        "delivery_totals",
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("deliveries", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "outcome", name=op.f("pk_delivery_totals")),
    )


def downgrade() -> None:
    for table in ("delivery_totals", "deliveries", "outbox", "subscribers"):
        op.drop_table(table)
