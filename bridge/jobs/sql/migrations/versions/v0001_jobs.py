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
    """Make the tables, and the store's id.

    MySQL does not undo what it has done of a migration that was cut off, so each step looks whether it was made.
    """
    there = sa.inspect(op.get_bind())
    if not there.has_table("meta"):
        _meta()
    if not there.has_table("jobs"):
        _jobs()
    indexes = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("jobs")}
    for name, columns in _INDEXES.items():
        if name not in indexes:
            op.create_index(name, "jobs", columns, unique=name == "jobs_key")
    if not there.has_table("bridges"):
        _bridges()
    if not there.has_table("greetings"):
        _greetings()
    meta = sa.table("meta", sa.column("name", sa.String), sa.column("value", sa.String))
    if op.get_bind().execute(sa.select(meta.c.value).where(meta.c.name == "store_id")).scalar() is None:
        op.bulk_insert(meta, [{"name": "store_id", "value": new_store_id()}])


_INDEXES: Final = {
    "jobs_key": ["caller", "route", "key_sha256"],
    "jobs_lease": ["lease_ms"],
    "jobs_due": ["state", "deadline_ms"],
    "jobs_purge": ["purge_ms"],
}


def _meta() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(255), nullable=False),
        **OPTIONS,
    )


def _bridges() -> None:
    op.create_table(
        "bridges",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("joining", sa.SmallInteger, nullable=False),
        **OPTIONS,
    )


def _greetings() -> None:
    op.create_table(
        "greetings",
        sa.Column("joiner", sa.String(32), primary_key=True),
        sa.Column("greeter", sa.String(32), primary_key=True),
        **OPTIONS,
    )


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
