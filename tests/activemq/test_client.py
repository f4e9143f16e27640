"""A connection that is kept up: addresses, hosts, back-off, who is told, and the end."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from activemq import supervisor
from activemq.client import Backoff, Client, Credentials, Server
from activemq.errors import (
    ConnectFailedError,
    ConnectionLostError,
    NotConnectedError,
)
from activemq.testing import FakeBroker
from tests.activemq.harness import SEND, Answers, Eventually, client_of, connected, consume, echo

pytestmark = pytest.mark.usefixtures("no_task_is_left", "logs")


# -- addresses and back-off


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("stomp://broker:61614", "broker", 61614, False),
        ("stomp://broker", "broker", 61613, False),
        ("stomp://127.0.0.1:1/", "127.0.0.1", 1, False),
        ("stomp://[::1]:61613", "::1", 61613, False),
        ("stomp+ssl://broker:61612", "broker", 61612, True),
    ],
)
def test_an_address_is_read(url: str, host: str, port: int, tls: bool) -> None:
    server = Server.parse(url)
    assert (server.host, server.port, server.tls is not None) == (host, port, tls)
    assert str(server) == f"{host}:{port}"


@pytest.mark.parametrize(
    "url",
    [
        *("http://broker:1", "broker:61613", "stomp:broker", "stomp://", "stomp://:61613", "", "stomp://b:port"),
        *("stomp://b:65536", "stomp://b/queue", "stomp://b?x=1", "stomp://b#x", "stomp://us:secret@b", "stomp://us@b"),
        *("stomp://:secret@b", "tcp://us:secret@b", "stomp://[::1"),
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_a_passcode(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Server.parse(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("failures", "step"), [(1, 0.05), (2, 0.1), (4, 0.4), (5, 0.8), (6, 0.8), (10_000, 0.8)])
def test_back_off_doubles_up_to_its_cap_and_is_between_half_and_whole(failures: int, step: float) -> None:
    delays = {Backoff(0.05, 0.8).delay(failures) for _ in range(200)}
    assert len(delays) > 1
    assert min(delays) >= step / 2
    assert max(delays) <= step


def test_a_client_needs_a_server() -> None:
    with pytest.raises(ValueError, match="at least one server"):
        Client([])


# -- connecting


async def test_it_connects_and_says_to_whom(fake: FakeBroker, logs: pytest.LogCaptureFixture) -> None:
    client = client_of(fake)
    assert (client.connected, client.generation) == (False, 0)
    with pytest.raises(NotConnectedError):
        _ = client.profile
    async with client:
        await asyncio.wait_for(client.wait_connected(), 10)
        assert (client.connected, client.generation, client.last_error) == (True, 1, None)
        assert client.profile.kind == "classic"
        assert f"connected to 127.0.0.1:{fake.port} (ActiveMQ/6.3.1)" in logs.text
    assert not client.connected


async def test_the_next_host_is_tried_when_one_is_down(fake: FakeBroker) -> None:
    async with FakeBroker() as down:
        port = down.port
    async with connected(port, fake):
        assert fake.connections == 1


async def test_after_a_loss_the_hosts_are_tried_from_the_first(fake: FakeBroker, eventually: Eventually) -> None:
    async with FakeBroker() as first, connected(first, fake) as client:
        assert (first.connections, fake.connections) == (1, 0)
        await first.stop()
        await eventually(lambda: fake.connections and client.connected)
        await first.start()
        await fake.drop_connections()
        await eventually(lambda: first.connections and client.connected)
        assert client.generation == 3


async def test_a_host_that_hangs_is_left_for_the_next(fake: FakeBroker) -> None:
    async with FakeBroker() as hung:
        hung.pause()
        async with connected(hung, fake, connect_timeout=0.05):
            assert fake.connections == 1


class Recorder(Backoff):
    """Tells how many failures it was asked about, and never waits."""

    asked: list[int] = []  # noqa: RUF012 - each instance is given its own

    def delay(self, failures: int) -> float:
        self.asked.append(failures)
        return 0.0


@pytest.fixture
def recorder() -> Backoff:
    backoff = Recorder()
    object.__setattr__(backoff, "asked", [])
    return backoff


async def test_failures_are_counted_one_by_one(recorder: Recorder, eventually: Eventually) -> None:
    async with FakeBroker() as down:
        port = down.port
    async with client_of(port, port, backoff=recorder):
        await eventually(lambda: len(recorder.asked) >= 4)
    assert recorder.asked[:4] == [1, 2, 3, 4]


async def test_a_connection_that_dies_young_is_a_failure(
    fake: FakeBroker, recorder: Recorder, eventually: Eventually
) -> None:
    async with connected(fake, backoff=recorder) as client:
        for generation in (2, 3, 4):
            await fake.drop_connections()
            await eventually(lambda wanted=generation: client.generation == wanted and client.connected)
    assert recorder.asked == [1, 2, 3]


async def test_a_connection_that_has_lived_ends_the_count(
    fake: FakeBroker, recorder: Recorder, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STABLE_AFTER", -1.0)
    async with connected(fake, backoff=recorder) as client:
        await fake.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
    assert recorder.asked == []


async def test_the_time_that_failing_takes_is_no_time_that_it_lived(
    fake: FakeBroker, recorder: Recorder, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STABLE_AFTER", 0.04)
    async with connected(fake, backoff=recorder, connect_timeout=0.05):
        fake.pause()
        await fake.drop_connections()
        await eventually(lambda: len(recorder.asked) >= 3)
        fake.resume()
    assert recorder.asked[:3] == [1, 2, 3]


async def test_each_reason_is_logged_once(logs: pytest.LogCaptureFixture, recorder: Recorder, eventually) -> None:
    async with FakeBroker() as one, FakeBroker() as other:
        ports = one.port, other.port
    async with client_of(*ports, backoff=recorder) as client:
        await eventually(lambda: len(recorder.asked) >= 5)
        assert isinstance(client.last_error, ConnectFailedError)
    warnings = [record.message for record in logs.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert all(str(port) in warning for port, warning in zip(ports, warnings, strict=True))


async def test_a_wrong_login_is_told_in_last_error_and_shows_no_passcode(
    logs: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    async with FakeBroker("us", "right") as broker:
        client = client_of(broker, credentials=Credentials("us", "wrong-secret"))
        async with client:
            await eventually(lambda: client.last_error)
            assert isinstance(client.last_error, ConnectFailedError)
            assert "password is invalid" in str(client.last_error)
            assert not client.connected
    assert "password is invalid" in logs.text
    assert "wrong-secret" not in logs.text + repr(client) + repr(client.last_error)


async def test_a_broker_without_a_profile_is_told_and_left(
    logs: pytest.LogCaptureFixture, eventually: Eventually, recorder: Recorder
) -> None:
    async with FakeBroker(server="OpenMQ/6.5") as broker, client_of(broker, backoff=recorder) as client:
        await eventually(lambda: len(recorder.asked) >= 2)
        assert "no profile for OpenMQ/6.5" in str(client.last_error)
        assert not client.connected
    assert logs.text.count("no profile for OpenMQ/6.5") == 1


async def test_the_kind_can_be_set(eventually: Eventually) -> None:
    async with FakeBroker(server="SomeShop/1") as broker, connected(broker, kind="classic") as client:
        assert client.profile.kind == "classic"


async def test_a_hung_broker_is_noticed_by_its_silence(eventually: Eventually) -> None:
    async with FakeBroker(heartbeat=0.1) as broker, connected(broker, heartbeat=0.1, connect_timeout=0.2) as client:
        broker.pause()
        await eventually(lambda: not client.connected)
        assert "no sign of life" in str(client.last_error) or "did not answer" in str(client.last_error)
        broker.resume()
        await eventually(lambda: client.connected)


async def test_bytes_that_are_not_stomp_cost_one_connection(fake: FakeBroker, eventually: Eventually) -> None:
    async with connected(fake) as client:
        await fake.inject(b"\0garbage\n\n")
        await eventually(lambda: client.generation == 2 and client.connected)


# -- who wants to know


async def test_listeners_are_told_of_each_connection_and_each_loss(fake: FakeBroker, eventually: Eventually) -> None:
    told: list[object] = []
    client = client_of(fake)
    client.listen(lambda: told.append("connected"), told.append)
    async with client:
        await eventually(lambda: told == ["connected"])
        await fake.drop_connections()
        await eventually(lambda: len(told) == 3)
    assert told[::2] == ["connected", "connected"]
    assert [type(error) for error in told[1::2]] == [ConnectionLostError, ConnectionLostError]


async def test_a_listener_that_raises_keeps_nobody_from_being_told(
    fake: FakeBroker, logs: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    told: list[str] = []

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    client = client_of(fake)
    client.listen(broken, broken)
    client.listen(lambda: told.append("connected"), lambda _: told.append("lost"))
    async with client:
        await eventually(lambda: client.connected)
        await fake.drop_connections()
        await eventually(lambda: told == ["connected", "lost", "connected"])
    assert "a listener of the broker connection failed" in logs.text


# -- the end


async def test_stop_says_good_bye_and_stays_away(fake: FakeBroker, logs: pytest.LogCaptureFixture) -> None:
    async with connected(fake) as client:
        pass
    assert fake.received[-1].command == "DISCONNECT"
    assert (fake.connections, client.connected, client.generation) == (0, False, 1)
    assert "lost the broker" not in logs.text
    with pytest.raises(NotConnectedError):
        client.send(SEND)


async def test_stop_tells_those_who_wait(fake: FakeBroker, answers: Answers) -> None:
    async with connected(fake) as client:
        fake.pause()
        client.publish(SEND, "r1", answers)
        stopping = asyncio.create_task(client.stop())
        await asyncio.sleep(0)
        await fake.drop_connections()
        await stopping
    ((_, error),) = answers.got
    assert isinstance(error, ConnectionLostError)


async def test_start_and_stop_may_be_said_twice_and_again(fake: FakeBroker) -> None:
    client = client_of(fake)
    await client.stop()
    for generation in (1, 2):
        await client.start()
        await client.start()
        await asyncio.wait_for(client.wait_connected(), 10)
        assert (client.generation, fake.connections) == (generation, 1)
        await client.stop()
        await client.stop()


@pytest.fixture(params=range(5), ids=["TCP", "CONNECT", "echo", "subscriptions", "back-off"])
async def stage(request: pytest.FixtureRequest, server) -> AsyncIterator[Client]:
    """A client that has come so far and no farther."""
    far: int = request.param
    client = client_of(server.port, backoff=Backoff(60, 60))
    client.subscribe(consume("a"), lambda _: None)
    await client.start()
    if far == 1:
        await (await server.accept(connected=None)).frame()
    elif far == 2:
        await (await server.accept()).frame()
    elif far == 3:
        wire = await server.accept()
        await echo(wire)
        await wire.frame()
    elif far == 4:
        wire = await server.accept(b"ERROR\nmessage:go away\n\n\0")
        await wire.eof()
    yield client
    await client.stop()


async def test_stop_while_connecting(stage: Client, no_task_is_left) -> None:
    async with asyncio.timeout(10):
        await stage.stop()
    assert (stage.connected, stage._connection, stage._receipts) == (False, None, {})


async def test_stop_cancelled_is_cancelled(server) -> None:
    client = client_of(server.port)
    await client.start()
    wire = await server.accept()
    await echo(wire)
    await asyncio.wait_for(client.wait_connected(), 10)
    stopping = asyncio.create_task(client.stop())
    assert (await wire.frame()).command == "DISCONNECT"
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await wire.eof()


async def test_stop_cancelled_while_connecting_is_cancelled(server) -> None:
    client = client_of(server.port)
    await client.start()
    wire = await server.accept(connected=None)
    stopping = asyncio.create_task(client.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await wire.eof()


async def test_wait_connected_cancelled_harms_nobody(fake: FakeBroker) -> None:
    fake.pause()
    async with client_of(fake) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.wait_connected()
        fake.resume()
        await asyncio.wait_for(client.wait_connected(), 10)


async def test_a_connection_is_cut_from_another_thread_although_a_copy_of_its_socket_is_open(
    eventually: Eventually,
) -> None:
    """As where a child of the process was forked: the broker must see the end all the same."""
    async with FakeBroker() as broker, connected(broker) as client:
        sock = client._connection._socket  # type: ignore[union-attr]  # what only the client has
        same = os.dup(sock.fileno())
        try:
            before = client.generation
            await asyncio.to_thread(client.cut)
            await eventually(lambda: client.generation > before)
        finally:
            os.close(same)


async def test_there_is_nothing_to_cut_without_a_connection() -> None:
    client_of(1).cut()
