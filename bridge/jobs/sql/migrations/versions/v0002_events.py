"""What workers say of jobs before their replies, and jobs in the order of their making."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision: Final = "0002"
down_revision: Final = "0001"

# As in v0001_jobs: what the tables were, not what they are.
BLOB: Final = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
OPTIONS: Final[dict[str, Any]] = {
    f"{kind}_{option}": value
    for kind in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def _columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("last_event", sa.Integer, nullable=False, server_default="0"),
        sa.Column("sequence", sa.Integer, nullable=False, server_default="-1"),
        sa.Column("events_size", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lost_chunk", sa.Integer, nullable=False, server_default="0"),
        sa.Column("early", sa.Integer, nullable=False, server_default="0"),
        sa.Column("early_ms", sa.BigInteger),
        sa.Column("progress", BLOB),
    )


def upgrade() -> None:
    """Add to the jobs how far their events have come, and tables of these.

    MySQL does not undo what it has done of a migration that was cut off, so each step looks whether it was made.
    """
    there = sa.inspect(op.get_bind())
    columns = {column["name"] for column in there.get_columns("jobs")}
    for column in _columns():
        if column.name not in columns:
            op.add_column("jobs", column)
    if "jobs_created" not in {index["name"] for index in there.get_indexes("jobs")}:
        op.create_index("jobs_created", "jobs", ["created_ms", "id"])
    if not there.has_table("events"):
        _events()
    if not there.has_table("early"):
        _early()


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("job", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("data", BLOB, nullable=False),
        **OPTIONS,
    )


def _early() -> None:
    op.create_table(
        "early",
        sa.Column("job", sa.String(32), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("data", BLOB),
        **OPTIONS,
    )
