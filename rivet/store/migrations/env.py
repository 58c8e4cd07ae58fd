"""Run the schema's steps on the connection that `rivet.store.migrate` hands over."""

from alembic import context

from rivet.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
