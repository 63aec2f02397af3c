"""What is being augmented has an end: how often it was asked for, since when a campaign waits, and what came without.

Revision: 0007; before: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Of datasets from before nobody counted how many images came without variants."""
    op.add_column("images", sa.Column("augment_asks", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("campaigns", sa.Column("closing_at", sa.Double(), nullable=True))
    op.add_column("datasets", sa.Column("without_variants", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Remove the columns."""
    for table, column in (("datasets", "without_variants"), ("campaigns", "closing_at"), ("images", "augment_asks")):
        op.drop_column(table, column)
