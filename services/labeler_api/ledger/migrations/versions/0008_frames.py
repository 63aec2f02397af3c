"""An image knows its frame: where in it the face is.

Revision: 0008; before: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. In images of before nobody has looked: their frame stays unknown."""
    op.add_column("images", sa.Column("frame", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("images", "frame")
