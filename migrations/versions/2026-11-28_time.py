"""The service's clock: one row, which begins with what the wall clock says."""

from dataclasses import astuple

import sqlalchemy as sa
from alembic import op

from storage.clock import first, read_clocks

revision = "2026_11_28_time"
down_revision = "2026_11_28_result_checksum"
branch_labels = None
depends_on = None


def upgrade() -> None:
    clock = op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("boot_id", sa.String(length=36), nullable=False),
        sa.Column("offset_milliseconds", sa.BigInteger(), nullable=False),
        sa.Column("doubt_milliseconds", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("step_milliseconds", sa.BigInteger(), nullable=False),
        sa.Column("step_since", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_clock_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock")),
    )
    row = (1, *astuple(first(read_clocks())))
    op.bulk_insert(clock, [dict(zip(clock.c.keys(), row, strict=True))])


def downgrade() -> None:
    op.drop_table("clock")
