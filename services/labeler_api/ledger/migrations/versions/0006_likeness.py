"""An image knows which one it looks the same as, and the group that it was brought in with.

Revision: 0006; before: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("images", sa.Column("near_duplicate_of", sa.Uuid(), nullable=True))
    op.add_column("images", sa.Column("group_name", sa.String(200), nullable=True))


def downgrade() -> None:
    """Remove them."""
    op.drop_column("images", "group_name")
    op.drop_column("images", "near_duplicate_of")
