"""A worker that runs in this process, a requester that is no bridge, and a proxy that sees and cuts."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from activemq import Client, Credentials, Server
from activemq.frames import CLIENT_COMMANDS, encode
from activemq.parser import Parser
from consumers import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from activemq import Frame

PATIENCE = 20.0  # seconds; a bound for what should happen at once


async def until(condition: Callable[[], Any], what: str = "it") -> None:
    """Wait until a condition holds; a failure if it does not."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {PATIENCE:g} s"
        await asyncio.sleep(0.005)


def new_client(broker: Any, port: int | None = None, **options: Any) -> Client:
    """A client, not started, for an EmbeddedBroker or a FakeBroker, or for a proxy before it on ``port``."""
    at = port or getattr(broker, "stomp_port", None) or broker.port
    who = Credentials(getattr(broker, "login", None), getattr(broker, "passcode", None))
    return Client([Server("127.0.0.1", at)], who, **options)


def worker_of(queue: str, function: Callable[..., Any], name: str = "worker") -> Worker:
    """A worker with one handler."""
    worker = Worker(name)
    worker.handler(queue)(function)
    return worker


class Gate:
    """A handler that waits to be let go, and tells which calls it has begun and ended, by their bodies."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.open = asyncio.Event()

    async def __call__(self, text: str) -> str:
        self.begun.append(text)
        await self.open.wait()
        self.ended.append(text)
        return text


class Running:
    """A worker at work."""

    def __init__(self, worker: Worker, client: Client) -> None:
        self.worker = worker
        self.client = client
        self.stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def counts(self):
        return self.worker.counts

    async def round_trip(self) -> None:
        """Come back when the broker has done all that was sent to it over this worker's connection."""
        data = encode("SEND", [("destination", "/topic/bridge.nobody-listens"), ("receipt", "round-trip")])
        await self.client.request_receipt(data, "round-trip", timeout=PATIENCE)

    async def drain(self) -> None:
        self.stopping.set()
        async with asyncio.timeout(PATIENCE):
            await self.task


@asynccontextmanager
async def running(
    worker: Worker, broker: Any, concurrency: int = 1, *, port: int | None = None
) -> AsyncIterator[Running]:
    """Run a worker from its readiness to its clean end."""
    run = Running(worker, new_client(broker, port))
    run.task = asyncio.create_task(worker.run(run.client, concurrency, run.stopping, run.ready.set))
    ready = asyncio.create_task(run.ready.wait())
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([run.task, ready], return_when=asyncio.FIRST_COMPLETED)
        if run.task.done():
            run.task.result()
        yield run
        await run.drain()
    finally:
        ready.cancel()
        run.task.cancel()
        await asyncio.gather(run.task, return_exceptions=True)


class Requester:
    """Sends request messages as anybody may, and takes the replies."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.replies: dict[str, list[Frame]] = {}
        client.subscribe(lambda profile: profile.replies("answers"), self._on_reply)

    async def __aenter__(self) -> Self:
        await self.client.start()
        async with asyncio.timeout(PATIENCE):
            await self.client.wait_connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()

    def _on_reply(self, frame: Frame) -> None:
        self.replies.setdefault(frame.get("correlation-id") or "", []).append(frame)

    async def send(self, queue: str, body: bytes | str = b"", **headers: str | None) -> str:
        """Send a request; return its correlation id. A str goes as text; a header that is None is left out."""
        correlation_id = secrets.token_hex(16)
        all_headers: dict[str, str | None] = {
            "destination": f"/queue/{queue}",
            "reply-to": self.client.profile.reply_to("answers"),
            "correlation-id": correlation_id,
            "receipt": f"sent-{correlation_id}",
        }
        all_headers |= {name.replace("_to", "-to").replace("_id", "-id"): value for name, value in headers.items()}
        data = body.encode() if isinstance(body, str) else body
        if isinstance(body, bytes):
            all_headers["content-length"] = str(len(data))
        kept = [(name, value) for name, value in all_headers.items() if value is not None]
        await self.client.request_receipt(encode("SEND", kept, data), f"sent-{correlation_id}", timeout=PATIENCE)
        return headers.get("correlation_id") or correlation_id

    async def send_raw(self, queue: str, header: bytes, body: bytes) -> str:
        """Send a request with a header line that our encoder would not write; return its correlation id."""
        call = secrets.token_hex(16)
        head = f"SEND\ndestination:/queue/{queue}\nreply-to:{self.client.profile.reply_to('answers')}\n"
        data = f"{head}correlation-id:{call}\nreceipt:sent-{call}\n".encode() + header + b"\n\n" + body + b"\0"
        await self.client.request_receipt(data, f"sent-{call}", timeout=PATIENCE)
        return call

    async def reply(self, correlation_id: str) -> Frame:
        """Wait for the one reply."""
        await until(lambda: correlation_id in self.replies, f"a reply to {correlation_id}")
        (frame,) = self.replies[correlation_id]
        return frame

    async def call(self, queue: str, body: bytes | str = b"", **headers: str | None) -> Frame:
        return await self.reply(await self.send(queue, body, **headers))

    def in_time(self, seconds: float = 30.0) -> dict[str, str]:
        """The headers with which a bridge gives a deadline."""
        budget = round(seconds * 1_000)
        deadline = str(self.client.clock.now_ms() + budget)
        return {"deadline_ms": deadline, "budget_ms": str(budget), "expires": deadline}


async def left_in(queue: str, requester: Requester) -> list[bytes]:
    """Take all that is in a queue: what comes before a last message of our own."""
    came: list[bytes] = []
    taking = requester.client.subscribe(
        lambda profile: {"destination": profile.queue(queue), "ack": "auto"}, lambda frame: came.append(frame.body)
    )
    await requester.send(queue, b"the last one", reply_to=None, priority="0")
    await until(lambda: b"the last one" in came)
    requester.client.unsubscribe(taking)
    return came[: came.index(b"the last one")]


class Proxy:
    """Stands before a broker: records the frames of all connections, and cuts them."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.frames: list[tuple[str, Frame]] = []  # ">" from the client, "<" from the broker
        self.open_to_clients = True
        self.flowing = asyncio.Event()  # from the broker to the clients
        self.flowing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def sent(self, command: str) -> list[Frame]:
        """The frames of that command that clients sent."""
        return [frame for way, frame in self.frames if way == ">" and frame.command == command]

    def story(self, *commands: str) -> list[str]:
        """What went over the wire, as far as it is one of ``commands``."""
        return [f"{way}{frame.command}" for way, frame in self.frames if frame.command in commands]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self.open_to_clients:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, up_writer]
        try:
            await asyncio.gather(
                self._pump(reader, up_writer, ">", Parser(commands=CLIENT_COMMANDS)),
                self._pump(up_reader, writer, "<", Parser()),
            )
        finally:
            writer.transport.abort()
            up_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str, parser: Parser) -> None:
        try:
            while data := await reader.read(65536):
                if way == "<":
                    await self.flowing.wait()
                self.frames += [(way, frame) for frame in parser.feed(data) if not _is_of_the_clock(frame)]
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # cut
        finally:
            writer.close()


def _is_of_the_clock(frame: Frame) -> bool:
    """Whether it acknowledges the client's own echo, which it does at some brokers and at some time."""
    return frame.command == "ACK" and (frame.raw("subscription") or "").startswith("clock")


@asynccontextmanager
async def proxy_to(broker: Any) -> AsyncIterator[Proxy]:
    async with Proxy(getattr(broker, "stomp_port", None) or broker.port) as proxy:
        yield proxy
