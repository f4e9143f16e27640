"""The bridge, or the null in its place, as a child process with a view into it.

Both are run by :mod:`bridge.server` itself, so that server, socket and collector settings are the product's own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from bench.children.channel import Channel
from bridge import server
from bridge.app import Bridge
from bridge.settings import Broker, BrokerUrl, Route, Server, Settings, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from bench.children.channel import Commands
    from bridge.asgi import Receive, Scope, Send
    from bridge.listening import Place
    from bridge.server import Connect
    from bridge.tracing import Tracing

HOLD = 300.0  # seconds; longer than any part that holds calls
HELD_AT_MOST = 64  # calls of the route that is overloaded: as many as the peak needs, not as many as there is room for
POLL = 0.002  # seconds
OFF: dict[str, Any] = {"started": "never", "async_": "never", "idempotency": "off", "stream": False}
FEATURES: dict[str, dict[str, Any]] = {
    "off": {},
    "started": {"started": "ask"},
    "jobs": {"async_": "allowed", "idempotency": "optional"},
    "stream": {"stream": True},
    "all": {"started": "ask", "async_": "allowed", "idempotency": "optional", "stream": True},
}


async def null(receive: Receive, send: Send) -> None:
    """Answer with the bytes that came: what the HTTP server costs with nothing behind it."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Null(Bridge):
    """A bridge that asks nobody: it is connected as any other, and no call comes near it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await null(receive, send)
        else:
            await super().__call__(scope, receive, send)


class View:
    """What the parent may ask."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def counts(self) -> dict[str, int]:
        """How much of everything there is now."""
        exchange = self._bridge.exchange
        return {"held": len(exchange), "wheel": len(exchange.wheel), "tasks": len(asyncio.all_tasks())}

    async def held(self, low: int, high: int, within: float) -> float:
        """Wait until the number of held calls is from ``low`` to ``high``; return when, by the monotonic clock."""
        loop, exchange = asyncio.get_running_loop(), self._bridge.exchange
        give_up = loop.time() + within
        while not low <= len(exchange) <= high:
            if loop.time() > give_up:
                raise TimeoutError(f"{len(exchange)} calls are held, not {low} to {high}, after {within:g} s")
            await asyncio.sleep(POLL)
        return loop.time()

    def commands(self) -> Commands:
        """Return the above by name."""
        return {"counts": self.counts, "held": self.held}


def settings_of(configuration: dict[str, Any]) -> Settings:
    """Return the settings: defaults wherever a benchmark does not need more room."""
    broker = configuration["broker"]
    return Settings(
        server=Server(bind=("127.0.0.1:0",), implementation=configuration["implementation"], max_held=20_000),
        broker=Broker(
            urls=(BrokerUrl("127.0.0.1", broker["port"], tls=False),),
            login=broker["login"],
            passcode=SecretStr(broker["passcode"]),
        ),
        store=Store(url=SecretStr(f"sqlite:///{configuration['store']}")),
        routes=routes_of(configuration["routes"]),
    )


def routes_of(name: str) -> tuple[Route, ...]:
    """Return a set of routes: the usual ones, the same without jobs, one without any feature, or one for each."""
    if name in ("usual", "held"):
        options: dict[str, Any] = {} if name == "usual" else {"async_": "never", "idempotency": "off"}
        hold = Route(name="hold", path="/hold", queue="bench.hold", timeout=HOLD, max_held=20_000, **options)
        return (Route(name="echo", path="/echo", queue="bench.echo", **options), hold)
    if name == "overload":
        return (Route(name="echo", path="/echo", queue="bench.echo", max_held=HELD_AT_MOST, **OFF),)
    wanted = FEATURES if name == "features" else {"off": {}}
    return tuple(
        Route(name=route, path=f"/with/{route}", queue="bench.echo", **{**OFF, **options})
        for route, options in wanted.items()
    )


def _tracing() -> Tracing:
    """Return tracing as it is in use, but for the sending."""
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - only where it is measured
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult  # noqa: PLC0415

    from bridge.tracing import Tracing  # noqa: PLC0415

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - as its super has them
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return Tracing(provider, "bench")


def main() -> None:
    """Serve until the parent is gone."""
    channel = Channel()
    made: list[Bridge] = []

    tracing = _tracing() if channel.configuration["traced"] else None
    kind = Null if channel.configuration["what"] == "null" else Bridge

    def make(
        settings: Settings, load: Callable[[], Settings] | None, place: Place | None, connect: Connect | None
    ) -> Bridge:
        made.append(kind(settings, load, place, connect, tracing))
        return made[0]

    def on_ready(addresses: list[str]) -> None:
        channel.ready(View(made[0]).commands(), port=int(addresses[0].rpartition(":")[2]))

    server.run(settings_of(channel.configuration), on_ready, make=make)


if __name__ == "__main__":
    main()
