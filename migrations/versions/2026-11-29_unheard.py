"""How often a client ran a job again, and how many messages a target got in this hour: nobody is told without end."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_unheard"
down_revision = "2026_11_29_turns"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("retries", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "message_counts",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("target_digest", sa.String(length=64), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "target_digest", name=op.f("pk_message_counts")),
    )


def downgrade() -> None:
    op.drop_table("message_counts")
    op.drop_column("jobs", "retries")
