"""Run by Alembic, on the connection that :mod:`bridge.jobs.sql.migrate` hands over, within its transaction."""

from alembic import context

from bridge.jobs.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_pk=False,  # MySQL would complain of the key's name, in the log
)
context.run_migrations()
