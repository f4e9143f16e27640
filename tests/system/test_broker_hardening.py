"""The brokers' configurations that we ship, run as they are: each right granted and refused, each limit, no way else.

All three kinds in every run: these files are what people start from. What is written of them: docs/security.md.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from activemq import Credentials
from activemq.brokers import PROFILES
from activemq.embedded.configuration import BrokerLimits
from activemq.embedded.shipped import KINDS, USERS, shipped
from activemq.errors import ArtifactError
from activemq.frames import Frame, encode
from activemq.parser import Parser
from activemq.testing.background import BackgroundLoop
from tests.brokers import KINDS as MAKERS
from tests.brokers import skip_or_fail
from tests.rabbitmq import RabbitMq

PATIENCE: Final = 30.0  # seconds
SHORT: Final = 1.0  # seconds, for a word that must not come: one that would come, comes in milliseconds
CONNECTIONS: Final = 40
LIMITS: Final = BrokerLimits(connections=CONNECTIONS, connect_timeout=2, silence=5)
QUEUES: Final = ("orders", "images.>")
LOOPBACK: Final = "127.0.0.1"
MIB: Final = 1024 * 1024


@dataclass
class Shipped:
    """A broker that runs on the files that we ship; ``ports`` are the ones that its file names."""

    kind: str
    broker: Any
    passcodes: dict[str, str] = field(repr=False)
    ports: tuple[int, ...]

    @property
    def stomp_port(self) -> int:
        return self.broker.stomp_port

    def credentials(self, user: str) -> Credentials:
        return Credentials(user, self.passcodes[user])


@pytest.fixture(scope="module", params=KINDS)
def shipped_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    kind = str(request.param)
    passcodes = {user: secrets.token_urlsafe(24) for user in USERS}
    background = BackgroundLoop()
    made: list[Any] = []
    with pytest.MonkeyPatch.context() as patched:
        if kind == "rabbitmq":
            broker = _rabbitmq(passcodes)
        else:
            patched.setattr("activemq.embedded.launcher.render", _files_of(passcodes))
            folder = tmp_path_factory.mktemp(kind)
            broker = MAKERS[kind](data_dir=folder, login="bridge", passcode=passcodes["bridge"])
        made.append(broker)
        try:
            background.run(broker.start())
            other = broker.amqp_port if kind == "rabbitmq" else broker.openwire_port
            yield Shipped(kind, broker, passcodes, (broker.stomp_port, other))
        except ArtifactError as error:
            skip_or_fail(error)
        finally:
            background.run(broker.close())
            background.close()


def _files_of(passcodes: dict[str, str]) -> Any:
    def files(kind: str, configuration: Any) -> dict[str, str]:
        """What we ship, where an embedded broker has its files."""
        ports = {"stomp_port": configuration.stomp_port, "other_port": configuration.openwire_port}
        made = shipped(kind, QUEUES, passcodes, limits=LIMITS, address=LOOPBACK, **ports)
        return {name if kind == "classic" else f"etc/{name}": text for name, text in made.items()}

    return files


def _rabbitmq(passcodes: dict[str, str]) -> RabbitMq:
    def files(broker: RabbitMq) -> dict[str, str]:
        where = {"stomp_port": broker.stomp_port, "other_port": broker.amqp_port, "folder": str(broker.folder)}
        return shipped("rabbitmq", QUEUES, passcodes, limits=LIMITS, address=LOOPBACK, **where)

    broker = RabbitMq(login="bridge", files=files)
    broker.passcode = passcodes["bridge"]
    return broker


class Peer:
    """A connection as plain as can be; ``next`` returns None at its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: str) -> None:
        self._reader, self._writer = reader, writer
        self._parser = Parser()
        self._parser.version = version
        self._frames: list[Frame] = []

    async def next(self) -> Frame | None:
        async with asyncio.timeout(PATIENCE):
            while not self._frames:
                try:
                    data = await self._reader.read(65_536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._frames = self._parser.feed(data)
        return self._frames.pop(0)

    def send(self, command: str, body: bytes = b"", **headers: object) -> None:
        named = [(name.replace("_", "-"), str(value)) for name, value in headers.items()]
        self._writer.write(encode(command, named, body))

    async def may(self, command: str, body: bytes = b"", **headers: object) -> bool:
        """Whether the broker confirms it; a refusal may cost the connection."""
        self.send(command, body, receipt="asked", **headers)
        while frame := await self.next():
            if frame.command == "ERROR":
                return False
            if frame.command == "RECEIPT":
                return True
        return False


@asynccontextmanager
async def peer_of(broker: Shipped, user: str | None, passcode: str | None = None) -> AsyncIterator[tuple[Peer, str]]:
    """A connection, and what the broker's first word was: CONNECTED, ERROR, or nothing."""
    version = PROFILES[broker.kind].versions.split(",")[-1]
    reader, writer = await asyncio.open_connection(LOOPBACK, broker.stomp_port)
    try:
        peer = Peer(reader, writer, version)
        who = {} if user is None else {"login": user, "passcode": passcode or broker.passcodes.get(user, "")}
        peer.send("CONNECT", accept_version=version, host="/", heart_beat="0,10000", **who)
        first = await peer.next()
        yield peer, first.command if first else ""
    finally:
        await ended(writer)


async def ended(writer: asyncio.StreamWriter) -> None:
    """Give up a connection, with what the broker has not taken, and wait until its socket is closed."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def may(broker: Shipped, user: str, command: str, destination: str) -> bool:
    async with peer_of(broker, user) as (peer, said):
        assert said == "CONNECTED"
        extra = {"id": "1", "ack": "client-individual"} if command == "SUBSCRIBE" else {}
        return await peer.may(command, destination=destination, **extra)


# -- users and rights: who may read, who may write: b(ridge), w(orker), a(dmin). RabbitMQ's bridge has no need to read
# what workers do, and has not the right.

ANY: Final = "bwa"
RIGHTS: Final = {
    "a worker's queue": ("/queue/orders", {"rabbitmq": "wa"}, ANY, {}, ANY),
    "one by its prefix": ("/queue/images.small", {}, ANY, {}, ANY),
    "what workers park": ("/queue/orders.poison", {}, "ba", {}, ANY),
    "another's queue": ("/queue/salaries", {"rabbitmq": "a"}, "ba", {"rabbitmq": "a"}, "ba"),
    "replies to jobs": ("/queue/bridge.replies.x", {}, "ba", {"rabbitmq": "ba"}, ANY),
    "dead letters": ("/queue/DLQ.orders", {"rabbitmq": "a"}, "ba", {"rabbitmq": "a"}, "ba"),
    "the wake-up of bridges": ("/topic/bridge.wake.x", {"rabbitmq": ANY}, "ba", {}, "ba"),
    "cancellations": ("/topic/bridge.cancel", {}, ANY, {}, "ba"),
}


def _who(of_kind: dict[str, str], usual: str, kind: str) -> set[str]:
    return set(of_kind.get(kind, usual))


@pytest.mark.parametrize("what", RIGHTS)
async def test_who_may_read(shipped_broker: Shipped, what: str) -> None:
    destination, of_kind, usual, _, _ = RIGHTS[what]
    readers = {user[0] for user in USERS if await may(shipped_broker, user, "SUBSCRIBE", destination)}
    assert readers == _who(of_kind, usual, shipped_broker.kind)


@pytest.mark.parametrize("what", RIGHTS)
async def test_who_may_write(shipped_broker: Shipped, what: str) -> None:
    destination, _, _, of_kind, usual = RIGHTS[what]
    writers = {user[0] for user in USERS if await may(shipped_broker, user, "SEND", destination)}
    assert writers == _who(of_kind, usual, shipped_broker.kind)


async def test_a_worker_answers_a_held_call_and_cannot_read_the_answers(shipped_broker: Shipped) -> None:
    profile = PROFILES[shipped_broker.kind].on_connection(secrets.token_hex(8))
    queue = f"images.{secrets.token_hex(4)}"
    async with (
        peer_of(shipped_broker, "bridge") as (bridge, _),
        peer_of(shipped_broker, "worker") as (worker, _),
        peer_of(shipped_broker, "worker") as (thief, _),
    ):
        assert await bridge.may("SUBSCRIBE", id="r", **_named(profile.replies("r")))
        assert await worker.may("SUBSCRIBE", id="1", **_named(profile.consume(queue)))
        assert await bridge.may("SEND", b"job", destination=profile.queue(queue), reply_to=profile.reply_to("r"))
        job = await worker.next()
        assert job is not None
        reply_to = job.get("reply-to") or ""
        at = reply_to if shipped_broker.kind != "artemis" else f"/topic/{reply_to}"
        at = f"/queue/{profile.reply_to('r')}" if shipped_broker.kind == "rabbitmq" else at
        assert not await thief.may("SUBSCRIBE", id="2", destination=at, ack="auto")
        assert await worker.may("SEND", b"done", destination=reply_to)
        reply = await bridge.next()
        assert reply is not None
        assert (reply.get("subscription"), reply.body) == ("r", b"done")


def _named(headers: Any) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("user", "passcode"),
    [(None, None), ("bridge", "wrong"), ("bridge", "x' or '1'='1"), ("nobody", "nobody"), ("guest", "guest")]
    + [(name, name) for name in ("admin", "worker", "artemis", "system")],
)
async def test_nobody_comes_in_without_a_passcode(
    shipped_broker: Shipped, user: str | None, passcode: str | None
) -> None:
    async with peer_of(shipped_broker, user, passcode) as (_, said):
        assert said in ("ERROR", "")


# -- limits


async def test_a_frame_of_nearly_4_mib_passes(shipped_broker: Shipped) -> None:
    async with peer_of(shipped_broker, "worker") as (peer, _):
        body = b"x" * (4 * MIB - 4096)
        assert await peer.may("SEND", body, destination="/queue/images.large", content_length=len(body))


async def test_a_frame_over_4_mib_is_refused_and_the_broker_goes_on(shipped_broker: Shipped) -> None:
    async with peer_of(shipped_broker, "worker") as (peer, _):
        body = b"x" * (4 * MIB + 1)
        taken = await peer.may("SEND", body, destination="/queue/images.over", content_length=len(body))
    # Artemis has no limit for a STOMP frame; docs/security.md says so.
    assert taken == (shipped_broker.kind == "artemis")
    assert await may(shipped_broker, "worker", "SEND", "/queue/orders")


async def test_there_are_so_many_connections_and_no_more(shipped_broker: Shipped) -> None:
    """The one over is turned away, and when the others have gone there is room again."""

    async def comes_in() -> tuple[asyncio.StreamWriter, bool]:
        reader, writer = await asyncio.open_connection(LOOPBACK, shipped_broker.stomp_port)
        peer = Peer(reader, writer, "1.1")
        peer.send(
            "CONNECT", accept_version="1.1", host="/", login="worker", passcode=shipped_broker.passcodes["worker"]
        )
        first = await peer.next()
        return writer, first is not None and first.command == "CONNECTED"

    open_ones = []
    try:
        for _ in range(CONNECTIONS + 1):
            writer, inside = await comes_in()
            open_ones.append(writer)
            if not inside:
                break
        assert not inside, "more than the limit"
        assert len(open_ones) > CONNECTIONS // 2
    finally:
        for writer in open_ones:
            await ended(writer)
    async with asyncio.timeout(PATIENCE):
        while True:
            writer, inside = await comes_in()
            await ended(writer)
            if inside:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("said", [b"", b"CONNECT\naccept-version:1.1\n"], ids=["nothing", "half a frame"])
async def test_who_does_not_log_in_is_closed(shipped_broker: Shipped, said: bytes) -> None:
    """After 2 s by these files, or 5 on Artemis for the half; RabbitMQ's STOMP waits 10 s, whatever they say."""
    for port in shipped_broker.ports[: 1 if said else 2]:
        _, closed = await _said(port, said, PATIENCE)
        assert closed, port


async def _said(port: int, data: bytes, seconds: float) -> tuple[bytes, bool]:
    """What it says to that in so many seconds, and whether it closed."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    said = b""
    try:
        writer.write(data)
        with suppress(ConnectionError):
            async with asyncio.timeout(seconds):
                while some := await reader.read(65_536):
                    said += some
    except TimeoutError:
        return said, False
    finally:
        await ended(writer)
    return said, True


# -- nothing else listens


def _listening(pid: int) -> set[tuple[str, int]]:
    """Address and port of all that a process listens on, TCP 4 and 6, as the kernel says."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and f"socket:[{parts[9]}]" in inodes:
                address, port = parts[1].split(":")
                found.add((address, int(port, 16)))
    return found


def _is_loopback(address: str) -> bool:
    return address in ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")


async def test_only_the_named_ports_listen_and_only_where_they_should(shipped_broker: Shipped) -> None:
    listening = _listening(shipped_broker.broker.pid)
    named = set(shipped_broker.ports)
    if shipped_broker.kind == "rabbitmq":  # nodes and rabbitmqctl talk over it, with a cookie; it is in no file of ours
        named.add(shipped_broker.broker._dist_port)
    assert {port for _, port in listening} == named
    assert all(_is_loopback(address) for address, _ in listening)


@pytest.mark.parametrize("path", ["/api/jolokia/", "/console/jolokia/version", "/admin/", "/api/message/orders", "/"])
async def test_no_console_and_no_jolokia_answers(shipped_broker: Shipped, path: str) -> None:
    for port in shipped_broker.ports:
        said, _ = await _said(
            port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n".encode(), SHORT
        )
        assert not re.match(rb"HTTP/1\.[01] [23]", said), said
        assert b"jolokia" not in said.lower().replace(path.encode(), b"")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 100 + b"\n\n\0",
        b"NONSENSE\n\n\0",
        b"\xff" * 2_000 + b"\n\n\0",
        b"CONNECT\n" + b"a:b\n" * 5_000 + b"\n\0",
    ],
    ids=["NULs", "no command", "no text", "5,000 headers"],
)
async def test_garbage_does_not_come_in_and_costs_nobody_else(shipped_broker: Shipped, garbage: bytes) -> None:
    assert b"CONNECTED" not in (await _said(shipped_broker.stomp_port, garbage, SHORT))[0]
    assert await may(shipped_broker, "worker", "SEND", "/queue/orders")
