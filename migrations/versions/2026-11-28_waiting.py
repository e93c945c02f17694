"""What trouble of its machine a worker waits for."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_waiting"
down_revision = "2026_11_28_time"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("waiting_for", sa.String(length=16), nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "waiting_for")
