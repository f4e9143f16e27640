"""Run by Alembic, on the connection that :mod:`bridge.jobs.sql.migrate` hands over, within its transaction."""

from alembic import context

from bridge.jobs.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
