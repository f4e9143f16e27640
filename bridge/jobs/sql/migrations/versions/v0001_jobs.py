"""The first tables."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from bridge.jobs.sql.migrate import new_store_id

revision: Final = "0001"
down_revision: Final = None

# Copied from tables.py on purpose: a migration says what the tables were, not what they are.
BLOB: Final = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
TEXT: Final = sa.Text().with_variant(mysql.LONGTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")
OPTIONS: Final[dict[str, Any]] = {
    f"{kind}_{option}": value
    for kind in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    """Make the tables, and the store's id."""
    meta = op.create_table(
        "meta",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(255), nullable=False),
        **OPTIONS,
    )
    _jobs()
    op.create_table(
        "bridges",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("joining", sa.SmallInteger, nullable=False),
        **OPTIONS,
    )
    op.create_table(
        "greetings",
        sa.Column("joiner", sa.String(32), primary_key=True),
        sa.Column("greeter", sa.String(32), primary_key=True),
        **OPTIONS,
    )
    op.bulk_insert(meta, [{"name": "store_id", "value": new_store_id()}])


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("caller", sa.String(256), nullable=False),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("key_sha256", sa.String(64)),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("rules", TEXT, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("deadline_ms", sa.BigInteger, nullable=False),
        sa.Column("retention_ms", sa.BigInteger, nullable=False),
        sa.Column("started_ms", sa.BigInteger),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sent_ms", sa.BigInteger),
        sa.Column("owner", sa.String(32)),
        sa.Column("lease_ms", sa.BigInteger),
        sa.Column("queue", sa.String(128), nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("is_text", sa.SmallInteger, nullable=False),
        sa.Column("properties", TEXT),
        sa.Column("request", BLOB),
        sa.Column("purge_ms", sa.BigInteger),
        sa.Column("answer", TEXT),
        sa.Column("body", BLOB),
        **OPTIONS,
    )
    op.create_index("jobs_key", "jobs", ["caller", "route", "key_sha256"], unique=True)
    op.create_index("jobs_lease", "jobs", ["lease_ms"])
    op.create_index("jobs_due", "jobs", ["state", "deadline_ms"])
    op.create_index("jobs_purge", "jobs", ["purge_ms"])
