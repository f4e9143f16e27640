"""The tables as this version needs them: made, upgraded, or refused."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, select, text

from bridge.jobs.sql.tables import meta
from bridge.jobs.store import StoreRefusedError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

HEAD: Final = "0002"  # the newest revision in migrations/versions
_LOCK: Final = 4_711_001  # any number that no other program takes for its own
_LOCK_NAME: Final = "mqbridge.migrate"
_LOCK_TIMEOUT: Final = 4  # seconds


def prepare(connection: Connection) -> str:
    """Make or upgrade the tables, within one transaction of ``connection``; return the store's id.

    Raises :class:`StoreRefusedError` for a store that a newer version has made.
    """
    revision = _revision_of(connection)
    if revision != HEAD:
        _lock(connection)
        try:
            revision = _revision_of(connection)  # another bridge may have been at it
            if revision != HEAD:
                _upgrade(connection, revision)
        finally:
            _unlock(connection)
    store_id = connection.execute(select(meta.c.value).where(meta.c.name == "store_id")).scalar_one()
    return str(store_id)


def new_store_id() -> str:
    """Return a store's id: so random that two deployments on one broker never take each other's replies."""
    return secrets.token_hex(8)


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the tables, None where there are none, and change nothing.

    Raises :class:`StoreRefusedError` for a store that a newer version has made.
    """
    revision = _revision_of(connection)
    if revision not in (None, HEAD) and revision not in _known():
        raise _newer(str(revision))
    return revision


def _revision_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, revision: str | None) -> None:
    from alembic import command  # noqa: PLC0415 - a tenth of a second that only a new or an old store costs

    logging.getLogger("alembic").setLevel(logging.WARNING)
    if revision is not None and revision not in _known():
        raise _newer(revision)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config


def _known() -> set[str]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _newer(revision: str) -> StoreRefusedError:
    return StoreRefusedError(
        f"the store was made by a newer version (its tables are of revision {revision!r}, this version knows "
        f"{HEAD!r}): install that version, or name another store in store.url"
    )


def _lock(connection: Connection) -> None:
    """Let one bridge at a time change the tables. SQLite's BEGIN IMMEDIATE does that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    elif connection.dialect.name in ("mysql", "mariadb"):
        got = connection.execute(text("SELECT GET_LOCK(:name, :wait)"), {"name": _LOCK_NAME, "wait": _LOCK_TIMEOUT})
        if got.scalar() != 1:
            raise TimeoutError("another bridge is changing the tables")


def _unlock(connection: Connection) -> None:
    if connection.dialect.name in ("mysql", "mariadb"):
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK_NAME})
