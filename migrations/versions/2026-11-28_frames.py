"""Zstd results of several frames, which earlier versions made, are not sent as a content coding: it is of one frame."""

from alembic import op

revision = "2026_11_28_frames"
down_revision = "2026_11_28_damage"
branch_labels = None
depends_on = None

FRAME_BYTES = 8 << 20
"""What those versions put into one frame, at the slowest level alone."""


def upgrade() -> None:
    op.execute(
        "UPDATE jobs SET result_coding = NULL WHERE result_coding = 'zstd' AND level = 'small'"
        f" AND source_size_bytes > {FRAME_BYTES}"
    )


def downgrade() -> None:
    """Leave it: an answer without a coding is right in every version."""
