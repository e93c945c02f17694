"""Zstd results of several frames, which earlier versions made, are not sent as a content coding: it is of one frame."""

from alembic import op

revision = "2026_11_28_frames"
down_revision = "2026_11_28_damage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A frame held 8 MiB, and only the slowest level made several.
    op.execute(
        "UPDATE jobs SET result_coding = NULL"
        " WHERE result_coding = 'zstd' AND level = 'small' AND source_size_bytes > 8388608"
    )


def downgrade() -> None:
    """Leave it: an answer without a coding is right in every version."""
