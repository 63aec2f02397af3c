"""A campaign knows how many of its slots are made: they are made in portions.

Revision: 0005; before: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Campaigns of before made all their slots when they started."""
    op.add_column("campaigns", sa.Column("slots_made", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE campaigns SET slots_made = total")


def downgrade() -> None:
    """Remove the column. What was not made yet is never made: cancel such campaigns before."""
    op.drop_column("campaigns", "slots_made")
