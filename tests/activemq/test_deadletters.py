"""A visit to a broker that does not browse: what it is shown it holds, and gives back at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from activemq import Client, Server
from activemq.brokers import PROFILES
from activemq.brokers.classic import Classic
from activemq.deadletters import Visit
from activemq.errors import ConnectFailedError
from activemq.frames import encode
from activemq.testing import FakeBroker
from tests.activemq.harness import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUE = "a.poison"


@dataclass(frozen=True, slots=True)
class Taking(Classic):
    """As Artemis does it: to look is to take, and there is no selector here either."""

    kind: str = "taking"

    @property
    def browses(self) -> bool:
        return False

    @property
    def shows_at_most(self) -> int | None:
        return None

    def look(self, queue: str, prefetch: int, only: str | None = None) -> Mapping[str, str]:
        return self.consume(queue, prefetch)

    def pick(self, queue: str, name: str) -> Mapping[str, str]:
        return self.consume(queue, 1_000)


@pytest.fixture
async def fake(monkeypatch):
    monkeypatch.setitem(PROFILES, "taking", Taking())
    monkeypatch.setattr("activemq.deadletters.SILENCE", 0.1)
    async with FakeBroker() as broker, Client([Server.parse(broker.url)]) as client:
        await client.wait_connected()
        for number in range(5):
            fields = [("destination", f"/queue/{QUEUE}"), ("persistent", "true"), ("receipt", str(number))]
            await client.request_receipt(encode("SEND", fields, b"%d" % number), str(number), timeout=PATIENCE)
        yield broker


def visit(broker, kind="taking"):
    return Visit(Client([Server.parse(broker.url)], kind=kind))


def bodies(broker):
    return [message.body for message in broker.messages(QUEUE)]


ALL = [b"0", b"1", b"2", b"3", b"4"]


async def test_silence_is_the_end_of_a_look_and_all_is_given_back(fake):
    async with visit(fake) as visiting:
        frames = []
        assert await visiting.look(QUEUE, lambda frame: frames.append(frame) is not None, most=10) is True
        assert [frame.body for frame in frames] == ALL
    assert (bodies(fake), fake.unacknowledged(QUEUE)) == (ALL, [])


@pytest.mark.parametrize("enough", [1, 4, 5])
async def test_a_look_that_has_seen_enough_gives_all_back(fake, enough):
    async with visit(fake) as visiting:
        frames = []

        def on_letter(frame):
            frames.append(frame)
            return len(frames) == enough

        assert await visiting.look(QUEUE, on_letter, most=10) is False
        assert len(frames) == enough
    assert bodies(fake) == ALL


@pytest.mark.parametrize("number", [0, 2, 4])
async def test_one_is_found_among_what_is_held_and_only_it_is_removed(fake, number):
    name = fake.messages(QUEUE)[number].id
    async with visit(fake) as visiting:
        only = []
        await visiting.look(QUEUE, lambda frame: only.append(frame) is None, most=10, only=name)
        assert [frame.body for frame in only] == [ALL[number]]
    async with visit(fake) as visiting:
        frame = await visiting.take(QUEUE, name)
        assert frame is not None
        assert frame.body == ALL[number]
        await visiting.remove(frame)
    assert bodies(fake) == [body for body in ALL if body != ALL[number]]


async def test_a_name_that_is_nobodys_is_not_there(fake):
    async with visit(fake) as visiting:
        assert await visiting.take(QUEUE, "ID:none") is None
    assert bodies(fake) == ALL


async def test_what_another_visit_holds_is_not_there_either(fake):
    """Such a broker does not show it: nobody can tell "held" from "gone"."""
    name = fake.messages(QUEUE)[0].id
    async with visit(fake) as first, visit(fake) as second:
        assert await first.take(QUEUE, name) is not None
        assert await second.take(QUEUE, name) is None


async def test_a_login_that_is_refused_is_said_in_bounded_time(monkeypatch):
    monkeypatch.setattr("activemq.deadletters.CONNECT_TIMEOUT", 0.2)
    async with FakeBroker(login="me", passcode="right") as broker:
        with pytest.raises(ConnectFailedError, match="password is invalid"):
            async with visit(broker, "classic"):
                pass
        assert broker.connections == 0
