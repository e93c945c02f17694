"""Results have a checksum of their stored bytes, which a download is held to; one kept as it came has its source's."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_result_checksum"
down_revision = "2026_11_28_frames"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("result_checksum", sa.String(length=16), nullable=True))
    op.execute(
        "UPDATE jobs SET result_checksum = ("
        "SELECT checksum FROM sources WHERE sources.job_seq = jobs.seq AND sources.key = jobs.result_key"
        ") WHERE stored_as_is AND result_key IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_column("jobs", "result_checksum")
