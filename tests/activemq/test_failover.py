"""Several addresses, of which one at a time answers: a pair of brokers that stand in for each other."""

import asyncio

import pytest

from activemq import supervisor
from activemq.brokers import Profile
from activemq.client import Server
from activemq.errors import ConnectFailedError
from activemq.search import Search
from activemq.testing import FakeBroker
from tests.activemq.harness import Eventually, client_of, connected, consume

pytestmark = pytest.mark.usefixtures("no_task_is_left", "logs")

NEVER = 3_600.0  # seconds; longer than any test


@pytest.fixture
def short_head_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HEAD_START", 0.05)


@pytest.fixture
async def silent():
    """A broker that is hung: it takes connections and says nothing. A host that is gone looks the same."""
    async with FakeBroker() as broker:
        broker.pause()
        yield broker


async def closed_port() -> int:
    async with FakeBroker() as broker:
        return broker.port


# -- the client


@pytest.mark.usefixtures("short_head_start")
async def test_a_silent_broker_does_not_hold_up_its_standby(silent: FakeBroker, fake: FakeBroker) -> None:
    async with connected(silent, fake, connect_timeout=NEVER):
        assert fake.connections == 1


@pytest.mark.usefixtures("short_head_start")
async def test_a_standby_that_opens_later_is_found_while_the_first_is_silent(
    silent: FakeBroker, eventually: Eventually
) -> None:
    async with FakeBroker() as standby:
        await standby.stop()
        async with client_of(silent, standby, connect_timeout=NEVER) as client:
            await eventually(lambda: isinstance(client.last_error, ConnectFailedError))
            await standby.start()
            await eventually(lambda: client.connected)
            assert standby.connections == 1


@pytest.mark.usefixtures("short_head_start")
async def test_a_silent_broker_that_answers_after_all_is_used_if_no_other_does(
    silent: FakeBroker, eventually: Eventually
) -> None:
    async with client_of(silent, await closed_port(), connect_timeout=NEVER) as client:
        await eventually(lambda: isinstance(client.last_error, ConnectFailedError))
        silent.resume()
        await eventually(lambda: client.connected)
        assert (silent.connections, client.generation) == (1, 1)


@pytest.mark.usefixtures("short_head_start")
async def test_of_two_that_answer_one_is_left_alone(
    silent: FakeBroker, fake: FakeBroker, eventually: Eventually
) -> None:
    async with connected(silent, fake, connect_timeout=NEVER) as client:
        silent.resume()
        await eventually(lambda: silent.connections == 0)
        assert (fake.connections, client.generation, client.connected) == (1, 1, True)


@pytest.mark.usefixtures("short_head_start")
async def test_a_live_one_that_hangs_is_left_for_the_standby_within_the_heart_beats(eventually: Eventually) -> None:
    async with FakeBroker(heartbeat=0.1) as live, FakeBroker(heartbeat=0.1) as standby:
        await standby.stop()
        async with connected(live, standby, heartbeat=0.1, connect_timeout=NEVER) as client:
            live.pause()
            await standby.start()
            await eventually(lambda: standby.connections == 1 and client.connected)
            assert client.generation == 2


async def test_a_standby_that_takes_connections_and_closes_them_is_passed_over(fake: FakeBroker) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server, connected(server.sockets[0].getsockname()[1], fake):
        assert fake.connections == 1


async def test_a_broker_that_cannot_be_made_ready_is_passed_over(fake: FakeBroker, eventually: Eventually) -> None:
    tried: list[str] = []

    def headers(profile: Profile) -> dict[str, str]:
        tried.append("once")
        if len(tried) == 1:
            raise ConnectFailedError("no rights here")
        return consume("a")(profile)

    async with FakeBroker() as first:
        client = client_of(first, fake)
        client.subscribe(headers, print)
        async with client:
            await eventually(lambda: client.connected)
            assert (first.connections, fake.connections, client.generation) == (0, 1, 2)


async def test_when_the_standby_is_lost_the_first_is_found_again(fake: FakeBroker, eventually: Eventually) -> None:
    async with FakeBroker() as first, connected(first, fake, connect_timeout=NEVER) as client:
        await first.stop()
        await eventually(lambda: fake.connections and client.connected)
        await first.start()
        await fake.stop()
        await eventually(lambda: first.connections and client.connected)
        assert client.generation == 3


@pytest.mark.usefixtures("short_head_start")
async def test_it_can_be_stopped_while_one_is_silent_and_the_others_are_closed(
    silent: FakeBroker, eventually: Eventually
) -> None:
    client = client_of(silent, await closed_port(), connect_timeout=NEVER)
    await client.start()
    await eventually(lambda: isinstance(client.last_error, ConnectFailedError))
    await client.stop()
    await eventually(lambda: silent.connections == 0)


# -- the search

A, B = Server("a"), Server("b")


class Asked:
    """What is asked, and answered by hand."""

    def __init__(self) -> None:
        self.waiting: dict[Server, asyncio.Future[str]] = {}
        self.failed: list[tuple[Server, str]] = []
        self.thrown_away: list[str] = []
        self.search: Search[str] = Search(
            self.attempt, lambda server, error: self.failed.append((server, str(error))), self.thrown_away.append
        )

    async def attempt(self, server: Server) -> str:
        self.waiting[server] = asyncio.get_running_loop().create_future()
        try:
            return await self.waiting[server]
        finally:
            del self.waiting[server]


@pytest.fixture
async def asked():
    asked = Asked()
    yield asked
    await asked.search.end()
    assert not asked.waiting


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_server_is_asked_once_at_a_time(asked: Asked) -> None:
    asked.search.begin(A)
    await turns()
    first = asked.waiting[A]
    asked.search.begin(A)
    await turns()
    assert asked.waiting == {A: first}


async def test_nobody_answers_in_time(asked: Asked) -> None:
    assert await asked.search.answer(0.0) is None
    assert await asked.search.answer(0.001) is None
    asked.search.begin(A)
    assert await asked.search.answer(0.001) is None
    assert await asked.search.answer(0.001, A) is None


async def test_the_failure_of_the_one_that_is_waited_for_ends_the_wait(asked: Asked) -> None:
    asked.search.begin(A)
    asked.search.begin(B)
    await turns()
    asked.waiting[B].set_exception(ConnectFailedError("refused"))
    assert await asked.search.answer(NEVER, B) is None
    assert asked.failed == [(B, "refused")]
    assert list(asked.waiting) == [A]


async def test_an_answer_of_another_one_is_an_answer_too(asked: Asked) -> None:
    asked.search.begin(A)
    asked.search.begin(B)
    await turns()
    asked.waiting[A].set_result("of a")
    assert await asked.search.answer(NEVER, B) == (A, "of a")


async def test_of_two_answers_the_first_asked_is_taken_and_the_other_thrown_away(asked: Asked) -> None:
    asked.search.begin(A)
    asked.search.begin(B)
    await turns()
    asked.waiting[B].set_result("of b")
    asked.waiting[A].set_result("of a")
    await turns()
    assert await asked.search.answer(NEVER) == (A, "of a")
    await asked.search.end()
    assert asked.thrown_away == ["of b"]


async def test_what_is_no_failure_to_connect_is_not_hidden(asked: Asked) -> None:
    asked.search.begin(A)
    await turns()
    asked.waiting[A].set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await asked.search.answer(NEVER)


@pytest.mark.parametrize("server", [None, A])
async def test_a_wait_that_is_cancelled_leaves_the_attempt_alone(asked: Asked, server: Server | None) -> None:
    asked.search.begin(A)
    waiting = asyncio.create_task(asked.search.answer(NEVER, server))
    await turns()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    asked.waiting[A].set_result("of a")
    assert await asked.search.answer(NEVER, server) == (A, "of a")
