"""Two bridges under one name, each at an address of its own: no shared state but the store and the broker."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import httpcore
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.bridge.callers import PATIENCE, until
from tests.bridge.processes import Echo, Process
from tests.databases import free_port

pytestmark = pytest.mark.slow

NAME = "bridge.test"
ADDRESSES = ("127.0.0.2", "127.0.0.3")
CALLS = 300
AT_ONCE = 24
TAKES = 0.1  # seconds, so that many are on their way when a bridge is killed
# A name that is not this machine's own: without authentication that has to be allowed.
OPEN = "allow_anonymous = true\n"


class RoundRobin(httpcore.AsyncNetworkBackend):
    """What a resolver and a client make of a name with several addresses: each connection begins with the next one,
    and goes on to the others if that does not answer (RFC 8305, 4)."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._addresses = list(addresses)
        self.used: Counter[str] = Counter()

    async def connect_tcp(self, host: str, port: int, *arguments: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        assert host == NAME
        self._addresses.append(self._addresses.pop(0))
        failed: Exception | None = None
        for address in tuple(self._addresses):
            try:
                stream = await self._inner.connect_tcp(address, port, *arguments, **options)
            except httpcore.ConnectError as error:
                failed = error
            else:
                self.used[address] += 1
                return stream
        raise failed or AssertionError("no addresses")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def resolving(backend: RoundRobin) -> httpx.AsyncHTTPTransport:
    transport = httpx.AsyncHTTPTransport()
    # Connections are not kept, so that each call is resolved anew, as many callers' calls are.
    transport._pool = httpcore.AsyncConnectionPool(network_backend=backend, max_keepalive_connections=0)
    return transport


class Caller:
    """Calls with a key until it has the answer; whatever goes wrong, the same key again."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.answered = 0
        self.troubles: Counter[str] = Counter()

    async def call(self, number: int) -> httpx.Response:
        headers = {"Idempotency-Key": f"key-{number}", "Content-Type": "text/plain"}
        while True:
            try:
                response = await self._client.post("/echo", content=f"nonce {number}", headers=headers)
            except httpx.TransportError as error:  # its bridge was killed: nobody knows
                self.troubles[type(error).__name__] += 1
                await asyncio.sleep(0.05)
                continue
            if response.status_code != 503:
                self.answered += 1
                return response
            self.troubles[response.json()["type"]] += 1
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
async def test_a_bridge_is_killed_in_mid_load_and_every_call_with_a_key_is_one_job(
    broker, queue, tmp_path, url, database
):
    name = queue(f"round-robin-{database}")
    port = free_port()
    bridges = [
        Process(broker, tmp_path, name, address, host=address, port=port, store=url, server=OPEN)
        for address in ADDRESSES
    ]
    worker, backend = Echo(broker, name, TAKES), RoundRobin(ADDRESSES)
    async with AsyncExitStack() as stack:
        for bridge in bridges:
            stack.callback(bridge.kill)
        await asyncio.gather(*(bridge.start() for bridge in bridges))
        await stack.enter_async_context(worker.client)
        await worker.client.wait_connected()
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://{NAME}:{port}", transport=resolving(backend), timeout=3 * PATIENCE)
        )
        caller, limit = Caller(client), asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> httpx.Response:
            async with limit:
                await asyncio.sleep(random.uniform(0, TAKES))
                return await caller.call(number)

        calls = [asyncio.create_task(one(number)) for number in range(CALLS)]
        await until(lambda: caller.answered >= CALLS // 3, "a third is answered")
        assert set(backend.used) == set(ADDRESSES)
        bridges[0].kill()
        async with asyncio.timeout(3 * PATIENCE):
            answers = await asyncio.gather(*calls)
        assert caller.troubles, "nobody noticed the kill"
        assert [(one.status_code, one.text) for one in answers] == [(200, f"echo nonce {n}") for n in range(CALLS)]
        assert await rows(url) == (CALLS, CALLS, CALLS)
        # The work of a few may have run twice: whose messages were sent, and not marked, when their bridge died.
        assert set(worker.ran) == {f"nonce {number}" for number in range(CALLS)}
        assert sum(worker.ran.values()) <= CALLS + AT_ONCE
        # The survivor knows the answers of the dead.
        again = [await caller.call(number) for number in range(0, CALLS, 10)]
        assert {one.headers["idempotency-replayed"] for one in again} == {"true"}
        ids = [answers[number].headers["correlation-id"] for number in range(0, CALLS, 10)]
        assert [one.headers["correlation-id"] for one in again] == ids
        print(f"{database}: {dict(backend.used)}, troubles {dict(caller.troubles)}, ran {sum(worker.ran.values())}")


async def rows(url: str) -> tuple[int, ...]:
    """How many jobs, how many keys, how many done."""
    engine = create_async_engine(url)
    query = "SELECT count(*), count(DISTINCT key_sha256), sum(CASE state WHEN 'done' THEN 1 ELSE 0 END) FROM jobs"
    try:
        async with engine.connect() as connection:
            return tuple(int(value) for value in (await connection.execute(text(query))).one())
    finally:
        await engine.dispose()
