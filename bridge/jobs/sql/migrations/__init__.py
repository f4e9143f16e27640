"""Alembic's folder; see bridge/jobs/sql/migrate.py, which runs it."""
