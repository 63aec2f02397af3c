"""A slot knows which of its attempts are committed and not settled yet; the outbox keeps what cannot be published.

Revision: 0004; before: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Of attempts before an open slot's present one nobody knows any more: they count as settled."""
    op.add_column("slots", sa.Column("unsettled", sa.JSON(), nullable=False, server_default="[]"))
    text = "to_json(ARRAY[attempt])" if op.get_context().dialect.name == "postgresql" else "json_array(attempt)"
    op.execute(f"UPDATE slots SET unsettled = {text} WHERE state = 'open'")
    op.add_column("outbox", sa.Column("parked_at", sa.Double(), nullable=True))
    op.add_column("outbox", sa.Column("error", sa.Text(), nullable=True))


def downgrade() -> None:
    """Remove the columns."""
    for table, column in (("outbox", "error"), ("outbox", "parked_at"), ("slots", "unsettled")):
        op.drop_column(table, column)
