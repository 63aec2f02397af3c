"""A slot knows the image that holds it; counters are found by prefix whatever the database's collation.

Revision: 0002; before: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and fill it for slots whose present attempt has an image; order counters by bytes."""
    op.add_column("slots", sa.Column("image_id", sa.Uuid(), nullable=True))
    op.execute(
        "UPDATE slots SET image_id = (SELECT images.id FROM images"
        " WHERE images.slot_id = slots.id AND images.attempt = slots.attempt)"
        " WHERE state IN ('review', 'augmenting', 'counted')"
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute('ALTER TABLE counters ALTER COLUMN name TYPE VARCHAR(128) COLLATE "C"')


def downgrade() -> None:
    """Remove the column, and the collation."""
    if op.get_context().dialect.name == "postgresql":
        op.execute('ALTER TABLE counters ALTER COLUMN name TYPE VARCHAR(128) COLLATE "default"')
    op.drop_column("slots", "image_id")
