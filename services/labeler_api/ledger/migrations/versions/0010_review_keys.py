"""A review has its sender's key, so that it is one review however often it is sent.

Revision: 0010; before: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and its index. Reviews of before have none."""
    op.add_column("reviews", sa.Column("key", sa.Uuid(), nullable=True))
    op.create_index("ix_reviews_key", "reviews", ["key"], unique=True)


def downgrade() -> None:
    """Remove both."""
    op.drop_index("ix_reviews_key", "reviews")
    op.drop_column("reviews", "key")
