"""Asking for an image has an end: how often an attempt was asked for again, and which were given up without an answer.

Revision: 0009; before: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What is out already has all its asks before it."""
    op.add_column("slots", sa.Column("asks", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("slots", sa.Column("given_up", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Remove the columns. What was given up stays booked, and a late answer is booked beside it."""
    op.drop_column("slots", "given_up")
    op.drop_column("slots", "asks")
