"""A person may correct where an image's frame lies; what was found stays beside it.

Revision: 0013; before: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. No frame of before was corrected."""
    op.add_column("images", sa.Column("corrected_square", sa.JSON(), nullable=True))
    op.add_column("images", sa.Column("square_reviewer", sa.String(128), nullable=True))


def downgrade() -> None:
    """Remove both: models see again what was found."""
    op.drop_column("images", "square_reviewer")
    op.drop_column("images", "corrected_square")
