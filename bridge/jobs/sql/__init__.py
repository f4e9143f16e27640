"""The store of jobs in SQL: SQLite in WAL mode, MySQL and MariaDB, PostgreSQL."""

from bridge.jobs.sql.store import SqlStore

__all__ = ["SqlStore"]
