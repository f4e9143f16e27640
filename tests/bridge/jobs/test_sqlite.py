"""SQLite's threads, which nobody can cancel."""

from __future__ import annotations

import asyncio
import threading

from sqlalchemy import text
from sqlalchemy.engine import make_url

from bridge.jobs.sql.sqlite import SqliteDatabase
from tests.bridge.callers import until


async def test_closing_waits_for_a_transaction_that_was_given_up(tmp_path):
    """A bridge that leaves while it opens its store: the next one of the process must not meet its migration."""
    begun, go_on = threading.Event(), threading.Event()

    def work(connection):
        begun.set()
        go_on.wait(20)
        connection.execute(text("CREATE TABLE done (it INTEGER)"))

    database = SqliteDatabase(make_url(f"sqlite:///{tmp_path / 'jobs.db'}"), timeout=20.0)
    opening = asyncio.create_task(database.run(work, write=True))
    await until(begun.is_set)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()

    closing = asyncio.create_task(database.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    await closing

    again = SqliteDatabase(make_url(f"sqlite:///{tmp_path / 'jobs.db'}"), timeout=20.0)
    assert await again.run(lambda connection: connection.execute(text("SELECT * FROM done")).all()) == []
    await again.close()


async def test_closing_waits_no_longer_than_a_transaction_may_take(tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def work(_):
        begun.set()
        go_on.wait(20)

    database = SqliteDatabase(make_url(f"sqlite:///{tmp_path / 'jobs.db'}"), timeout=0.05)
    working = asyncio.create_task(database.run(work))
    try:
        await until(begun.is_set)
        await database.close()
        assert not go_on.is_set()
    finally:
        go_on.set()
        await asyncio.gather(working, return_exceptions=True)
