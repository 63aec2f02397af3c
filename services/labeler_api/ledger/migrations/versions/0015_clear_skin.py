"""Images of clear skin have counters, as those of a condition do: it is a target of its own.

Revision: 0015; before: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_CLEAR = "complete AND NOT EXISTS (SELECT 1 FROM image_labels WHERE image_labels.image_id = images.id)"


def upgrade() -> None:
    """Count what is there. No slot asks for clear skin yet."""
    op.execute(
        "INSERT INTO counters (name, shard, value) "
        f"SELECT 'shows/' || status || '/clear', 0, COUNT(*) FROM images WHERE {_CLEAR} GROUP BY status"
    )
    op.execute(
        "INSERT INTO counters (name, shard, value) SELECT 'tones/clear/0/' || skin_tone, 0, COUNT(*) FROM images "
        f"WHERE {_CLEAR} AND status = 'accepted' AND skin_tone IS NOT NULL GROUP BY skin_tone"
    )


def downgrade() -> None:
    """Forget the counters."""
    for name in ("shows/%/clear", "tones/clear/%", "reserved/clear", "reserved_tones/clear/%"):
        op.execute(f"DELETE FROM counters WHERE name LIKE '{name}'")
