"""A bridge that serves in this process, and a worker that does as it is told."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

from pydantic import PrivateAttr, SecretStr

from activemq import Client, Credentials, Server
from activemq.frames import Limits, encode
from activemq.local import LocalBroker
from bridge.app import Bridge
from bridge.server import serve
from bridge.settings import Broker, BrokerUrl, Route, Settings, Store
from bridge.settings import Server as ServerSettings
from tests.bridge.callers import PATIENCE, Response, call, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from activemq import Frame


class LocalSettings(Settings):
    """Settings of calls that go to workers of the same process; see :func:`settings_for`."""

    _connect: Any = PrivateAttr(None)


def broker_settings(broker: Any, port: int | None = None, **options: Any) -> Broker:
    """Settings for an EmbeddedBroker or a FakeBroker, or for a proxy before it on ``port``."""
    if isinstance(broker, LocalBroker):
        return Broker(**options)
    at = getattr(broker, "stomp_port", None) or broker.port
    return Broker(
        urls=(BrokerUrl("127.0.0.1", port or at, tls=False),),
        login=getattr(broker, "login", ""),
        passcode=SecretStr(getattr(broker, "passcode", "")),
        **options,
    )


def settings_for(
    broker: Any,
    routes: Iterable[Route],
    *,
    broker_port: int | None = None,
    publish_timeout: float = 5.0,
    store: Store | None = None,
    **server: Any,
) -> Settings:
    """Settings with sensible defaults for a test; ``server``: keys of [server].

    For a LocalBroker the routes are without jobs, as where a worker is served directly.
    """
    sections = {
        "server": ServerSettings(**{"bind": ("127.0.0.1:0",), "drain": 20.0, **server}),
        "broker": broker_settings(broker, broker_port, publish_timeout=publish_timeout),
        "store": store or Store(),
    }
    if not isinstance(broker, LocalBroker):
        return Settings(**sections, routes=tuple(routes))
    held = (route.model_copy(update={"async_": "never", "idempotency": "off"}) for route in routes)
    settings = LocalSettings(**sections, routes=tuple(held))
    settings._connect = lambda broker_settings: broker.client(Limits(max_body=broker_settings.max_frame))
    return settings


# What the tasks of calls run: our watcher of the caller, Uvicorn's and Hypercorn's way into the application.
_OF_CALLS = ("_see_caller_leave", "run_asgi", "_handle()")


# A store that can never be opened.
NO_STORE = Store(url=SecretStr("sqlite:////dev/null/jobs.db"))


class Running:
    """A bridge behind a real HTTP server, on the loop of the test."""

    def __init__(self, bridge: Bridge, port: int, stop: asyncio.Event, served: asyncio.Task[int]) -> None:
        self.bridge = bridge
        self.port = port
        self.stopping = stop
        self.served = served

    async def call(self, target: str | bytes = "/echo", body: bytes | None = b"", **options: Any) -> Response:
        return await call(self.port, target, body, **options)

    async def held(self, number: int) -> None:
        """Wait until that many calls are held at the broker."""
        await until(lambda: len(self.bridge.exchange) == number, f"{number} calls held")

    @property
    def leftovers(self) -> dict[str, int]:
        """What a bridge at rest has none of."""
        bridge = self.bridge
        return {
            "exchange": len(bridge.exchange),
            "wheel": len(bridge.wheel),
            "holders": len(bridge.jobs.holders),
            "held": bridge.admission.held,
            "memory": bridge.admission.memory,
            "unanswered": sum(queue.unanswered for queue in bridge.presence.queues.values()),
            "since": sum(len(route.counts.since) for route in bridge.router.routes),
            "calls": sum(any(name in repr(task) for name in _OF_CALLS) for task in asyncio.all_tasks()),
        }

    async def at_rest(self) -> None:
        """Wait until nothing of any call is left."""
        try:
            await until(lambda: not any(self.leftovers.values()))
        except AssertionError:
            raise AssertionError(f"something is left of calls that are over: {self.leftovers}") from None


@asynccontextmanager
async def running(
    settings: Settings,
    implementation: str,
    *,
    connected: bool = True,
    load: Callable[[], Settings] | None = None,
    tracing: Any = None,
) -> AsyncIterator[Running]:
    """Serve until the end of the context, then drain."""
    made: list[Bridge] = []
    scratch = tempfile.TemporaryDirectory()
    if settings.store == Store():  # its default is a folder of whoever runs the tests
        settings = settings.model_copy(update={"store": Store(url=sqlite(scratch.name))})

    class Seen(Bridge):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, tracing=tracing)
            made.append(self)

    thresholds = gc.get_threshold()
    stop = asyncio.Event()
    ready: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    ports: list[int] = []
    with patch("bridge.server.listen", _listen_and_tell(ports)):
        connect = settings._connect if isinstance(settings, LocalSettings) else None
        serving = serve(settings, implementation, ready.set_result, stop, load, connect=connect, make=Seen)
        served = asyncio.create_task(serving)
        await until(lambda: ports or served.done(), "listening")
    try:
        if connected:
            await asyncio.wait([ready, served], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            assert ready.done(), "the bridge did not get ready"
            # So that a call without a worker is always refused, and not only when the bridge was quick to know.
            bridge = made[0]
            if bridge.client.profile.tells_who_listens:
                await until(lambda: bridge.presence.known or not bridge.presence.queues, "who listens is known")
        yield Running(made[0], ports[0], stop, served)
    finally:
        stop.set()
        try:
            async with asyncio.timeout(PATIENCE):
                await served
        finally:
            gc.unfreeze()
            gc.set_threshold(*thresholds)
            scratch.cleanup()


def sqlite(folder: Any) -> SecretStr:
    """The URL of a store in a folder."""
    return SecretStr(f"sqlite:///{folder}/jobs.db")


def _listen_and_tell(ports: list[int]) -> Any:
    from bridge.server import listen

    def listening(addresses: Any) -> Any:
        sockets = listen(addresses)
        ports.extend(sock.getsockname()[1] for sock in sockets)
        return sockets

    return listening


class ToldWorker:
    """Takes request messages and waits to be told what to reply."""

    def __init__(self, broker: Any, *queues: str) -> None:
        self.client = client_for(broker)
        self._inbox: dict[str, asyncio.Queue[Frame]] = {queue: asyncio.Queue() for queue in queues}
        for queue in queues:
            self.client.subscribe(all_of(queue), self._inbox[queue].put_nowait)
        self._receipts = 0

    async def __aenter__(self) -> Self:
        await self.client.start()
        async with asyncio.timeout(PATIENCE):
            await self.client.wait_connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()

    async def request(self, queue: str) -> Frame:
        """The next request message of a queue."""
        async with asyncio.timeout(PATIENCE):
            return await self._inbox[queue].get()

    def waiting(self, queue: str) -> int:
        """How many request messages nobody has looked at."""
        return self._inbox[queue].qsize()

    def forget(self) -> None:
        """Throw away what nobody has looked at."""
        for inbox in self._inbox.values():
            while not inbox.empty():
                inbox.get_nowait()

    async def reply(self, request: Frame, body: bytes = b"", *, text: bool = False, **properties: str | None) -> None:
        """Send a reply and wait for the broker's receipt; ``_`` in a name stays, a None takes a header away."""
        headers: dict[str, str | None] = {"correlation-id": request.get("correlation-id"), **properties}
        await self.send(request.get("reply-to") or "", headers, body, text=text)

    async def send(self, destination: str, headers: dict[str, str | None], body: bytes, *, text: bool) -> None:
        self._receipts += 1
        receipt = f"told-{self._receipts}"
        fields = [("destination", destination), ("receipt", receipt)]
        fields += [(name, value) for name, value in headers.items() if value is not None]
        if not text:
            fields.append(("content-length", str(len(body))))
        await self.client.request_receipt(encode("SEND", fields, body), receipt, timeout=PATIENCE)


def all_of(queue: str) -> Any:
    """Subscribe to all that comes to a queue, without acknowledging."""
    # A large prefetch: this worker stands for as many as a test needs.
    # Artemis counts it in bytes, and never gives credit for what it acknowledges by itself [2.57]: no limit there.
    many = {"activemq.prefetchSize": "5000", "consumer-window-size": "-1"}
    return lambda profile: {"destination": profile.queue(queue), "ack": "auto", **many}


def client_for(broker: Any) -> Client:
    """A client of ours, not started."""
    if isinstance(broker, LocalBroker):
        return broker.client(Limits(max_body=64 << 20))
    port = getattr(broker, "stomp_port", None) or broker.port
    login, passcode = getattr(broker, "login", None), getattr(broker, "passcode", None)
    return Client([Server("127.0.0.1", port)], Credentials(login, passcode), limits=Limits(max_body=64 << 20))
