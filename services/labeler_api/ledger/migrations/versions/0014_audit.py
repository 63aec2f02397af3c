"""What people change of images is logged where nobody can change it; a review says how long it took.

How sure a reviewer is goes from 1 to 5 now; it was from 0 to 1.

Revision: 0014; before: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_SENTENCE = "The audit log is only ever added to."
_SQLITE = (
    f"CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, '{_SENTENCE}'); END",
    f"CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, '{_SENTENCE}'); END",
)
_POSTGRES = (
    "CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_SENTENCE}'; END $$",
    "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()",
)


def upgrade() -> None:
    """Add the table, which begins empty, what keeps it from being changed, and the column."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "audit_log",
        sa.Column("sequence", big, autoincrement=True, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_log"),
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES:
        op.execute(statement)
    op.add_column("reviews", sa.Column("seconds", sa.Double(), nullable=True))
    op.execute("UPDATE reviews SET confidence = ROUND(1 + 4 * confidence) WHERE confidence IS NOT NULL")


def downgrade() -> None:
    """Remove them."""
    op.execute("UPDATE reviews SET confidence = (confidence - 1) / 4.0 WHERE confidence IS NOT NULL")
    op.drop_column("reviews", "seconds")
    op.drop_table("audit_log")  # its triggers go with it
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_log_refuse()")
