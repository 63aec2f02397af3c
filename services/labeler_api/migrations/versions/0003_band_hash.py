"""A band knows its image's perceptual hash.

Revision: 0003; before: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and fill it from the images."""
    op.add_column("image_bands", sa.Column("perceptual_hash", sa.LargeBinary(), nullable=True))
    op.execute(
        "UPDATE image_bands SET perceptual_hash ="
        " (SELECT images.perceptual_hash FROM images WHERE images.id = image_bands.image_id)"
    )


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("image_bands", "perceptual_hash")
