"""The tables. A change here needs a migration beside it; a test holds the two against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import mysql

from bridge.jobs.model import MAX_CALLER

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

# MySQL's BLOB and TEXT end at 64 KiB. Its usual collation holds "a" for "A", and ids and names are neither.
BLOB: Final = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
TEXT: Final = Text().with_variant(mysql.LONGTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")
OPTIONS: Final[dict[str, Any]] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


class Exact(TypeDecorator[str]):
    """A string that differs from another by any letter, a space at its end included.

    MySQL's collations for which that is so have another name on MariaDB, so a full stop guards the end.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Add the guard."""
        return None if value is None else f"{value}."

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Take it off."""
        return None if value is None else value[:-1]


metadata: Final = MetaData()

# One row, and one for each thing that the store has to know of itself.
meta: Final = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(255), nullable=False),
    **OPTIONS,
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("caller", Exact(MAX_CALLER + 1), nullable=False),
    Column("route", String(64), nullable=False),
    Column("key_sha256", String(64)),  # NULL: none, or it is free again
    Column("fingerprint", String(64)),
    Column("state", String(16), nullable=False),
    Column("path", TEXT, nullable=False),
    Column("rules", TEXT, nullable=False),  # JSON
    Column("created_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("retention_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Column("attempts", Integer, nullable=False),
    # The request, until the broker has confirmed it.
    Column("sent_ms", BigInteger),
    Column("owner", String(32)),
    Column("lease_ms", BigInteger),  # NULL: sent, or over
    Column("queue", String(128), nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("is_text", SmallInteger, nullable=False),
    Column("properties", TEXT),  # JSON
    Column("request", BLOB),
    # Its answer, once there is one.
    Column("purge_ms", BigInteger),  # when this row next loses something; NULL while it is open
    Column("answer", TEXT),  # JSON
    Column("body", BLOB),
    # What its worker says meanwhile; see bridge.jobs.trail.
    Column("last_event", Integer, nullable=False, server_default="0"),
    Column("sequence", Integer, nullable=False, server_default="-1"),
    Column("events_size", BigInteger, nullable=False, server_default="0"),
    Column("lost_chunk", Integer, nullable=False, server_default="0"),
    Column("early", Integer, nullable=False, server_default="0"),
    Column("early_ms", BigInteger),
    Column("progress", BLOB),  # JSON
    Index("jobs_key", "caller", "route", "key_sha256", unique=True),
    Index("jobs_lease", "lease_ms"),
    Index("jobs_due", "state", "deadline_ms"),
    Index("jobs_purge", "purge_ms"),
    Index("jobs_created", "created_ms", "id"),
    **OPTIONS,
)

events: Final = Table(
    "events",
    metadata,
    Column("job", String(32), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("data", BLOB, nullable=False),
    **OPTIONS,
)

# Words of workers that have come before those that they said earlier.
early: Final = Table(
    "early",
    metadata,
    Column("job", String(32), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("data", BLOB),
    **OPTIONS,
)

bridges: Final = Table(
    "bridges",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("joining", SmallInteger, nullable=False),
    **OPTIONS,
)

greetings: Final = Table(
    "greetings",
    metadata,
    Column("joiner", String(32), primary_key=True),
    Column("greeter", String(32), primary_key=True),
    **OPTIONS,
)
