"""Stores and brokers that fail, at whichever moment: what callers are told, and that it mends by itself."""

from __future__ import annotations

import asyncio
import gc
import secrets
import sqlite3

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from bridge.jobs.sql import SqlStore
from bridge.jobs.sql.migrate import HEAD
from bridge.jobs.store import StoreRefusedError, StoreUnavailableError
from bridge.settings import Store
from tests.bridge.callers import PATIENCE, until
from tests.bridge.harness import NO_STORE, running, settings_for, sqlite
from tests.bridge.jobs.conftest import new_database
from tests.bridge.jobs.make import NOW, new_job
from tests.bridge.jobs.world import ASYNC, a_world, key, routes_for
from tests.databases import MariaDb, PostgreSql

pytestmark = pytest.mark.every_broker


@pytest.fixture
def queue():
    """Queues of each test's own: some leave messages."""
    prefix = f"test.{secrets.token_hex(4)}"
    return lambda name: f"{prefix}.{name}"


@pytest.fixture(params=[MariaDb, PostgreSql])
def own_server(request):
    """A database server that a test may kill or have hang."""
    with request.param() as server:
        yield server


async def the_store_is(world, there):
    await until(
        lambda: world.bridge.bridge.jobs._store.available == there, f"the store is {'' if there else 'not '}there"
    )


async def a_held_call(world):
    calling = world.begin("/echo", b"held")
    await world.worker.reply(await world.request(), b"held")
    assert (await calling).body == b"held"


async def refused_for_the_store(world, *headers):
    async with asyncio.timeout(PATIENCE):
        response = await world.post("/echo", b"x", *headers)
    assert (response.status, response.name, response.problem["ran"]) == (503, "store-unavailable", "no")
    assert response.get("retry-after") is not None


async def on_connection(url, work):
    """Do something with a database behind the store's back."""
    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.begin() as connection:
            result = work(connection)
        engine.dispose()
        return result
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        result = await connection.run_sync(work)
    await engine.dispose()
    return result


# -- the store


async def test_without_a_store_held_calls_go_on_and_jobs_are_refused(broker, queue):
    settings = settings_for(broker, routes_for(queue), store=NO_STORE)
    async with running(settings, "uvicorn") as bridge:
        for options in ({"headers": (ASYNC,)}, {"headers": (key("k"),)}):
            response = await bridge.call("/echo", b"x", **options)
            assert (response.status, response.name, response.problem["ran"]) == (503, "store-unavailable", "no")
        for method in ("GET", "DELETE"):
            response = await bridge.call("/jobs/" + "0" * 32, None, method=method)
            assert (response.status, response.name) == (503, "store-unavailable")
        assert (await bridge.call("/-/ready", None, method="GET")).status == 503
        assert (await bridge.call("/jobs/x", None, method="GET")).name == "no-job"


async def test_a_store_that_comes_late_is_used(broker, queue, tmp_path):
    folder = tmp_path / "late"
    folder.write_text("in the way")
    async with running(settings_for(broker, routes_for(queue), store=Store(url=sqlite(folder))), "uvicorn") as bridge:
        assert (await bridge.call("/echo", b"x", headers=(ASYNC,))).name == "store-unavailable"
        folder.unlink()
        folder.mkdir()
        await until(lambda: bridge.bridge.jobs.ready)
        assert (await bridge.call("/echo", b"x", headers=(ASYNC,))).status == 202


async def test_a_database_that_is_killed_and_comes_back(own_server, broker, queue):
    store = Store(url=SecretStr(await new_database(own_server)))
    async with a_world(broker, queue, store=store) as world:
        location = await world.accepted()
        request = await world.request()
        own_server.kill()
        await refused_for_the_store(world, ASYNC)
        await refused_for_the_store(world, key("k"))
        assert (await world.get(location)).name == "store-unavailable"
        await a_held_call(world)
        # A reply that cannot be kept is not acknowledged: it is there when the store is.
        await world.worker.reply(request, b"while it was away")
        own_server.start()
        await the_store_is(world, there=True)
        assert (await world.is_over(location))["state"] == "done"
        assert (await world.get(location + "/result")).body == b"while it was away"
        calling = world.begin("/echo", b"x", key("k"))
        await world.worker.reply(await world.request(), b"again")
        assert (await calling).body == b"again"
        await world.nothing_was_sent()


# Some drivers leave the connections of a server that hung to the collector, which warns: here, and nowhere later. As an
# error the warning would keep the connection from closing its socket, which then warns in another test.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_database_that_hangs_keeps_nobody_waiting_for_long(own_server, broker, queue):
    store = Store(url=SecretStr(await new_database(own_server)))
    async with a_world(broker, queue, store=store) as world:
        location = await world.accepted()
        request = await world.request()
        database = world.bridge.bridge.jobs._store._database
        usual, database.timeout = (
            database.timeout,
            1.0,
        )  # only now: a machine under load takes longer to make the tables
        own_server.pause()
        try:
            calls = [refused_for_the_store(world, headers) for headers in (ASYNC, key("a"), key("b"))]
            await asyncio.gather(*calls)
            assert (await world.get(location)).name == "store-unavailable"
            await a_held_call(world)
        finally:
            own_server.resume()
            database.timeout = usual
        await the_store_is(world, there=True)
        await world.worker.reply(request, b"done")
        assert (await world.is_over(location))["state"] == "done"
        # What was refused is not sent after all, also if its row was written in the end.
        calling = world.begin("/echo", b"x", key("c"))
        await world.worker.reply(await world.request(), b"the next")
        assert (await calling).body == b"the next"
    gc.collect()


async def test_a_full_disk_refuses_jobs_and_loses_none(broker, queue, tmp_path):
    async with a_world(broker, queue, store=Store(url=sqlite(tmp_path))) as world:
        location = await world.accepted()
        request = await world.request()
        connection = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.close()
        limit_pages(world, pages + 2)
        refusals = 0
        for _ in range(30):
            response = await world.post("/echo", b"x" * 10_000, ASYNC)
            if response.status == 503:
                assert (response.name, response.problem["ran"]) == ("store-unavailable", "no")
                refusals += 1
            await the_store_is(world, there=True)
        assert refusals
        await a_held_call_among(world)
        limit_pages(world, 1_000_000)
        await world.worker.reply(request, b"y" * 50_000)
        assert (await world.is_over(location))["state"] == "done"
        assert len((await world.get(location + "/result")).body) == 50_000


async def a_held_call_among(world):
    """A held call, with jobs' messages before it on the queue."""
    calling = world.begin("/never", b"held")
    await world.worker.reply(await world.request("never"), b"held")
    assert (await calling).body == b"held"


def limit_pages(world, pages):
    """Let the file grow to so many pages, on all connections that the store has or will make."""
    database = world.bridge.bridge.jobs._store._database
    from sqlalchemy import event

    def limit(connection, _record, _proxy):
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {pages}")
        cursor.close()

    event.listen(database._engine, "checkout", limit)


async def test_a_reply_that_finds_the_disk_full_is_kept_by_the_broker(broker, queue, tmp_path):
    async with a_world(broker, queue, store=Store(url=sqlite(tmp_path))) as world:
        location = await world.accepted()
        request = await world.request()
        connection = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.close()
        limit_pages(world, pages)
        await world.worker.reply(request, b"y" * 500_000)
        await the_store_is(world, there=False)
        assert (await world.get(location)).status in (200, 503)
        limit_pages(world, 1_000_000)
        await the_store_is(world, there=True)
        assert (await world.is_over(location))["state"] == "done"
        assert (await world.get(location + "/result")).body == b"y" * 500_000


async def test_a_store_of_a_newer_version_is_refused(url, database):
    store = SqlStore(url)
    await store.open()
    await store.close()
    await on_connection(url, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    store = SqlStore(url)
    with pytest.raises(StoreRefusedError, match=f"newer version.*'9999'.*'{HEAD}'"):
        await store.open()
    await store.close()


async def test_a_bridge_with_a_store_of_a_newer_version_does_not_start(broker, queue, tmp_path):
    url = sqlite(tmp_path)
    store = SqlStore(url.get_secret_value())
    await store.open()
    await store.close()
    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreRefusedError, match="newer version"):
        async with running(
            settings_for(broker, routes_for(queue), store=Store(url=url)), "uvicorn", connected=False
        ) as bridge:
            await bridge.served


async def test_the_tables_are_those_of_the_migrations(open_store, url):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from bridge.jobs.sql.tables import metadata

    await open_store()
    assert await on_connection(url, lambda c: compare_metadata(MigrationContext.configure(c), metadata)) == []


def test_the_newest_revision_is_the_one_that_is_expected(tmp_path):
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import bridge.jobs.sql.migrate as migrate

    config = Config()
    config.set_main_option("script_location", str(tmp_path.__class__(migrate.__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("mysql+pymysql://me:hidden@h/d", "not installed|not asynchronous"),
        ("nonsense", "not a URL"),
        ("oracle+nothing://me:hidden@h/d", "not known"),
    ],
)
def test_urls_that_cannot_be_used_are_refused_without_their_secrets(url, says):
    with pytest.raises(StoreRefusedError, match=says) as caught:
        SqlStore(url)
    assert "hidden" not in str(caught.value)


async def test_a_store_that_cannot_be_reached_says_so_in_bounded_time_and_without_its_password(caplog):
    store = SqlStore("postgresql+asyncpg://me:hidden@127.0.0.1:1/d", timeout=2.0)
    with pytest.raises(StoreUnavailableError):
        await store.open()
    assert not store.available
    with pytest.raises(StoreUnavailableError):
        await store.create(new_job(), NOW)
    await store.close()
    assert "hidden" not in caplog.text


async def test_the_file_of_sqlite_is_for_its_owner_only(tmp_path):
    store = SqlStore(f"sqlite:///{tmp_path}/new/jobs.db")
    await store.open()
    await store.create(new_job(), NOW)
    for name in ("jobs.db", "jobs.db-wal"):
        assert (tmp_path / "new" / name).stat().st_mode & 0o777 == 0o600
    await store.close()


async def test_a_login_without_the_right_to_make_tables_is_told_so(postgresql):
    url = await new_database(postgresql)
    await on_connection(url, lambda c: c.execute(text("CREATE ROLE reader LOGIN PASSWORD 'reads'")))
    await on_connection(url, lambda c: c.execute(text("REVOKE ALL ON SCHEMA public FROM PUBLIC")))
    store = SqlStore(url.replace(f"postgres:{postgresql.password}@", "reader:reads@"))
    with pytest.raises(StoreRefusedError, match="tables cannot be made"):
        await store.open()
    await store.close()
