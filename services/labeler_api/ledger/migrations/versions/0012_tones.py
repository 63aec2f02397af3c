"""The skin tones of accepted images, and of those on their way, have counters: a plan fills what is rare.

Revision: 0012; before: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ACCEPTED = """
INSERT INTO counters (name, shard, value)
SELECT 'tones/' || condition || '/' || COALESCE(severity, 0) || '/' || skin_tone, 0, COUNT(*)
FROM image_labels JOIN images ON images.id = image_labels.image_id
WHERE status = 'accepted' AND skin_tone IS NOT NULL
GROUP BY condition, COALESCE(severity, 0), skin_tone
"""


def upgrade() -> None:
    """Count what is there. Slots that are still to be made have no tones yet: they are counted when they are made."""
    op.execute(_ACCEPTED)
    slots = sa.table("slots", *map(sa.column, ("condition", "severity", "state")), sa.column("subject", sa.JSON))
    counters = sa.table("counters", *map(sa.column, ("name", "shard", "value")))
    tone = slots.c.subject["skin_tone"].as_integer()
    name = sa.literal("reserved_tones/").concat(slots.c.condition)
    for part in (slots.c.severity, tone):
        name = name.concat("/").concat(sa.cast(part, sa.String()))
    waiting = sa.select(name, sa.literal(0), sa.func.count()).group_by(name)
    waiting = waiting.where(slots.c.state.in_(("open", "review")), tone.is_not(None))
    op.execute(sa.insert(counters).from_select(["name", "shard", "value"], waiting))


def downgrade() -> None:
    """Forget the counters."""
    op.execute("DELETE FROM counters WHERE name LIKE 'tones/%' OR name LIKE 'reserved_tones/%'")
