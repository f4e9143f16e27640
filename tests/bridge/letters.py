"""A bridge with dead letters at its broker, an operator, and somebody who may do anything at that broker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from contextlib import asynccontextmanager
from typing import Any

from activemq import Client, Frame
from activemq.frames import encode
from bridge.settings import Admin, Caller, Route
from tests.bridge.callers import PATIENCE, Response, until
from tests.bridge.harness import client_for, running, settings_for

KEY = "the-admin-key-of-these-tests"
ADMIN = Admin(key_sha256=hashlib.sha256(KEY.encode()).hexdigest())
BEARER = ("Authorization", f"Bearer {KEY}")
LETTERS = "/-/api/dlq"
OF_A_CALL = {"a": "1", "http_method": "POST", "http_target": "/echo?q=1"}


class Desk:
    """A bridge, an operator, and somebody who may do anything at the broker."""

    def __init__(self, bridge: Any, client: Client, queue: str, broker: Any) -> None:
        self.bridge = bridge
        self.client = client
        self.queue = queue
        self.broker = broker
        self.poison = f"{queue}.poison"
        self.dead = f"DLQ.{queue}"

    async def ask(self, path: str = "", method: str = "GET", *headers: tuple[str, str]) -> Response:
        return await self.bridge.call(f"{LETTERS}{path}", None, method=method, headers=headers or (BEARER,))

    async def json(self, path: str = "", method: str = "GET") -> Any:
        response = await self.ask(path, method)
        assert response.status in (200, 202), (response.status, response.body)
        return json.loads(response.body)

    async def letters(self, queue: str | None = None, **options: Any) -> list[dict[str, Any]]:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return (await self.json(f"?queue={queue or self.poison}{more}"))["letters"]

    async def the_letter(self, queue: str | None = None) -> dict[str, Any]:
        (letter,) = await self.letters(queue)
        return letter

    async def count(self, queue: str) -> int:
        shelves = (await self.json())["queues"]
        return next(shelf["count"] for shelf in shelves if shelf["queue"] == queue)

    async def park(self, body: bytes | str = b"body", queue: str | None = None, **headers: str) -> None:
        """Put a message into the poison queue as a worker's SDK does."""
        own = {"type": "echo", "original_queue": f"/queue/{self.queue}", "attempt": "3", **OF_A_CALL}
        await self.put(queue or self.poison, body, own | headers)

    async def put(self, queue: str, body: bytes | str, headers: dict[str, str]) -> None:
        receipt = secrets.token_hex(8)
        fields = [("destination", f"/queue/{queue}"), ("persistent", "true"), ("receipt", receipt), *headers.items()]
        data = body.encode() if isinstance(body, str) else body
        if isinstance(body, bytes):
            fields.append(("content-length", str(len(data))))
        await self.client.request_receipt(encode("SEND", fields, data), receipt, timeout=PATIENCE)

    async def replay(self, letter: dict[str, Any]) -> Response:
        return await self.ask(f"/{letter['id']}/replay", "POST")

    async def result(self, response: Response) -> Response:
        """Wait for the result of the job that a replay made."""
        assert response.status == 202, response
        waited = (("Prefer", "wait=15"),)
        return await self.bridge.call(f"{response.get('location')}/result", None, method="GET", headers=waited)


@asynccontextmanager
async def a_desk(
    broker: Any, queue: str, routes: tuple[Route, ...] | None = None, callers: tuple[Caller, ...] = (), **options: Any
):
    routes = routes or (Route(name="echo", path="/echo", queue=queue, max_attempts=1, priority_ceiling=6),)
    settings = settings_for(broker, routes, **options).model_copy(update={"admin": ADMIN, "callers": callers})
    async with (
        running(settings, "uvicorn", connected=options.get("store") is None) as bridge,
        client_for(broker) as client,
    ):
        await client.wait_connected()
        await until(lambda: bridge.bridge.jobs.ready or options.get("store") is not None, "the jobs are ready")
        yield Desk(bridge, client, queue, broker)


async def crash_with(broker: Any, queue: str) -> None:
    """Be a worker that takes a message and dies."""
    taken: asyncio.Queue[Frame] = asyncio.Queue()
    async with client_for(broker) as client:
        client.subscribe(lambda profile: profile.consume(queue), taken.put_nowait)
        async with asyncio.timeout(PATIENCE):
            await taken.get()
