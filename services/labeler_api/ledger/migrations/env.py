"""Alembic's environment: migrations run on the connection that `Database.migrate` hands over."""

from alembic import context

from services.labeler_api.ledger.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
