"""A model has the gate's reason, also where there was no other one to compare it with.

Revision: 0011; before: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Models of before have their reason in `comparison`, if any."""
    op.add_column("models", sa.Column("reason", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("models", "reason")
