"""What is stored can be damaged: a checksum of every source, and when a result was found damaged."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_damage"
down_revision = "2026_11_23_audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sources", sa.Column("checksum", sa.String(length=16), nullable=True))
    op.add_column("jobs", sa.Column("result_damaged_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_jobs_damaged",
        "jobs",
        ["status", "seq"],
        unique=False,
        sqlite_where=sa.text("result_damaged_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_damaged", table_name="jobs")
    op.drop_column("jobs", "result_damaged_at")
    op.drop_column("sources", "checksum")
