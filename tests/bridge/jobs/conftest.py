"""Stores to test: the same suite on SQLite, MariaDB and PostgreSQL."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bridge.jobs.sql import SqlStore
from tests.databases import START_WITHIN, MariaDb, PostgreSql, Server

DATABASES = ("sqlite", "mariadb", "postgresql")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    with MariaDb() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with PostgreSql() as server:
        yield server


async def new_database(server: Server) -> str:
    """Make a database of its own; return its URL."""
    name = f"t{secrets.token_hex(6)}"
    engine = create_async_engine(server.url_of("postgres"), isolation_level="AUTOCOMMIT")
    try:
        async with asyncio.timeout(START_WITHIN):
            # It takes connections before it is ready.
            while not await _execute(engine, server.create_statements(name)):  # noqa: ASYNC110 - it cannot tell
                await asyncio.sleep(0.05)
    finally:
        await engine.dispose()
    return server.url_of(name)


async def _execute(engine: AsyncEngine, statement: str) -> bool:
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    except (DBAPIError, OSError):
        return False
    return True


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def url(database: str, request: pytest.FixtureRequest, tmp_path) -> str:
    """A new, empty database."""
    if database == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    return await new_database(request.getfixturevalue(database))


@pytest.fixture
async def open_store(url: str) -> AsyncIterator[Callable]:
    """``await open_store()`` opens the test's store, once more for each call: as another bridge would."""
    opened: list[SqlStore] = []

    async def opening(at: str = url, **options: float) -> SqlStore:
        store = SqlStore(at, **options)
        opened.append(store)
        await store.open()
        return store

    yield opening
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: Callable) -> SqlStore:
    return await open_store()
