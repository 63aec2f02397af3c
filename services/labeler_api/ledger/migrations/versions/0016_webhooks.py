"""Webhooks wait in a table of their own until their target takes them.

Revision: 0016; before: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "webhooks",
        sa.Column("sequence", _BIG, autoincrement=True, nullable=False),
        sa.Column("message_id", sa.String(128), nullable=False),
        sa.Column("target", sa.String(300), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("failed_at", sa.Double),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("sequence", name="pk_webhooks"),
    )
    op.create_index("ix_webhooks_target_due_at", "webhooks", ["target", "due_at"])
    op.create_index("ix_webhooks_created_at", "webhooks", ["created_at"])


def downgrade() -> None:
    """Remove it, with what waits in it."""
    op.drop_table("webhooks")
