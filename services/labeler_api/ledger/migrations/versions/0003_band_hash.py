"""A band knows its image's perceptual hash, and so does the index in PostgreSQL: a look at those alike reads no table.

Revision: 0003; before: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


KEY = (
    "ALTER TABLE image_bands DROP CONSTRAINT pk_image_bands, ADD CONSTRAINT pk_image_bands PRIMARY KEY (band, image_id)"
)


def upgrade() -> None:
    """Add the column and fill it from the images; widen the index."""
    op.add_column("image_bands", sa.Column("perceptual_hash", sa.LargeBinary(), nullable=True))
    op.execute(
        "UPDATE image_bands SET perceptual_hash ="
        " (SELECT images.perceptual_hash FROM images WHERE images.id = image_bands.image_id)"
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"{KEY} INCLUDE (perceptual_hash)")


def downgrade() -> None:
    """Remove the column, from the index first: with it the index would go."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(KEY)
    op.drop_column("image_bands", "perceptual_hash")
